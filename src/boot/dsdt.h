/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NIDRA_BOOT_DSDT_H
#define NIDRA_BOOT_DSDT_H

#include <stdint.h>

#define DSDT_AML_LEN 168
extern const uint8_t dsdt_aml[DSDT_AML_LEN];

#endif
