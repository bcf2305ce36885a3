/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of devices in a configuration, and their JSON. Strings are owned. */
#ifndef NIDRA_GUEST_CONFIG_DEVICE_H
#define NIDRA_GUEST_CONFIG_DEVICE_H

#include <jansson.h>

#include "guest/config.h"

void guest_disks_fini(struct guest_disks *d);
int guest_disks_copy(const struct guest_disks *from, struct guest_disks *ret);
int guest_disks_check(const struct guest_disks *d, struct err *err);
json_t *guest_disks_to_json(const struct guest_disks *d);
/* Adds to *ret, which is the caller's also when it fails. Disks without a name get one. */
int guest_disks_from_json(json_t *list, struct guest_disks *ret, struct err *err);

void guest_nics_fini(struct guest_nics *n);
int guest_nics_copy(const struct guest_nics *from, struct guest_nics *ret);
int guest_nics_check(const struct guest_nics *n, struct err *err);
json_t *guest_nics_to_json(const struct guest_nics *n);
int guest_nics_from_json(json_t *list, struct guest_nics *ret, struct err *err);
/* Six bytes from "00:16:3e:..."; false: it is not one that a machine can have. */
bool guest_nic_mac(const char *text, uint8_t ret[6]);

/* For shares alone: who has another network, or none, gets one without a way out. */
int guest_nics_add_restricted(struct guest_nics *n);

void guest_shares_fini(struct guest_shares *s);
int guest_shares_copy(const struct guest_shares *from, struct guest_shares *ret);
int guest_shares_check(const struct guest_shares *s, struct err *err);
json_t *guest_shares_to_json(const struct guest_shares *s);
int guest_shares_from_json(json_t *list, struct guest_shares *ret, struct err *err);

/* A string that is not empty, out of an element of @list ("disks"), for its messages. *ret is freed first. */
int guest_device_text(const char *list, const char *key, json_t *v, char **ret, struct err *err);
int guest_device_bool(const char *list, const char *key, json_t *v, bool *ret, struct err *err);

#endif
