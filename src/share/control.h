/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nidra-monitor tells nidra-share: SHARE_QUIET or SHARE_GO, and a number. "Quiet" is given back with its number
 * when no file changes any more.
 */
#ifndef NIDRA_SHARE_CONTROL_H
#define NIDRA_SHARE_CONTROL_H

#define SHARE_QUIET   'q'
#define SHARE_GO      'g'
#define SHARE_MESSAGE 2 /* bytes */

#endif
