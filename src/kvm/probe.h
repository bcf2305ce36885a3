/* SPDX-License-Identifier: Apache-2.0 */
/* What this host's KVM can do, found out by running a small long-mode guest on it. */
#ifndef NIDRA_KVM_PROBE_H
#define NIDRA_KVM_PROBE_H

#include <stdbool.h>

#include "base/err.h"

struct kvm_probe {
	bool present;	   /* /dev/kvm exists */
	bool permitted;	   /* and may be opened */
	int api_version;   /* 12, or 0 */
	bool runs;	   /* the probe guest ran in long mode, with interrupts, and got every answer right */
	char why_not[200]; /* if it did not */
	bool caps;	   /* all capabilities that nidra needs are there */
	char missing[200]; /* else: their names */
	bool intercepts;   /* KVM_XEN hands hypercalls over: no patching of guests needed */
	bool tracks_xcr0;  /* XSAVE can be offered to guests */
	bool amd;	   /* VMMCALL, not VMCALL */
	/*
	 * The CPU offers VMX or SVM. A KVM without them (PVM) passes the probe guest, and even nidra's own
	 * small guest, but stock Linux kernels hang on it: seen, with no output at all.
	 */
	bool hardware;
};

/* Never fails: what could not be found out is false, with the reason in why_not. */
void kvm_probe(struct kvm_probe *ret);

#endif
