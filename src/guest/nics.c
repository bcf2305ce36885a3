/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/nics.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "device/vif.h"
#include "guest/config_device.h"
#include "guest/shares.h"

int guest_make_mac(const char *uuid, unsigned int index, uint8_t ret[6])
{
	static const uint8_t xen[] = { 0x00, 0x16, 0x3e };
	uint8_t hash[crypto_generichash_BYTES];
	char text[64];
	int n = snprintf(text, sizeof(text), "nidra nic %s %u", uuid, index);

	if (sodium_init() < 0 || n < 0 || n >= (int)sizeof(text))
		return -EINVAL;
	crypto_generichash(hash, sizeof(hash), (const uint8_t *)text, (size_t)n, NULL, 0);
	memcpy(ret, xen, sizeof(xen));
	memcpy(ret + sizeof(xen), hash, 3);
	ret[3] &= 0x7f; /* Xen's own tools make them below that */
	return 0;
}

static bool address_of(const struct guest_config *config, unsigned int i, uint8_t ret[6])
{
	const char *given = config->nics.nic[i].mac;

	return given ? guest_nic_mac(given, ret) : guest_make_mac(config->uuid, i, ret) == 0;
}

int guest_nic_address(const struct guest_config *config, unsigned int index, char ret[GUEST_MAC_TEXT])
{
	uint8_t m[6];

	if (!address_of(config, index, m))
		return -EINVAL;
	snprintf(ret, GUEST_MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
	return 0;
}

/* The first of type user carries the shares. */
static void add_services(const struct guest_config *config, const struct shares *shares, unsigned int i,
			 struct link_config *ret)
{
	for (unsigned int k = 0; k <= i; k++)
		if ((config->nics.nic[k].type == LINK_USER) != (k == i))
			return;
	for (size_t k = 0; k < config->shares.n; k++)
		ret->service[ret->n_services++] =
			(struct link_service){ .port = shares_port(k), .path = shares_socket(shares, k) };
}

static int add_nic(const struct guest_config *config, const struct shares *shares, struct bus *b, unsigned int i,
		   struct err *lacks, struct vif **ret, struct err *err)
{
	const struct guest_nic *nic = &config->nics.nic[i];
	struct link_config link = { .type = nic->type,
				    .tap = nic->tap,
				    .bridge = nic->bridge,
				    .path = nic->path,
				    .forward = (const char *const *)nic->forward,
				    .n_forwards = nic->n_forwards,
				    .restricted = nic->restricted };
	uint8_t mac[6];

	if (!address_of(config, i, mac))
		return err_set(err, -EINVAL, "network %u: no address", i);
	add_services(config, shares, i, &link);
	return vif_add(b, i, mac, &link, config->name, lacks, ret, err);
}

int guest_add_nics(const struct guest_config *config, const struct shares *shares, struct bus *b, struct err *lacks,
		   struct vif *ret[GUEST_NICS_MAX], struct err *err)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < config->nics.n; i++)
		r = add_nic(config, shares, b, i, lacks, &ret[i], err);
	return r;
}
