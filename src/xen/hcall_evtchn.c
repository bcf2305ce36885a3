/* SPDX-License-Identifier: Apache-2.0 */
/* HYPERVISOR_event_channel_op. Source: Xen public/event_channel.h. */
#include <errno.h>

#include "xen/internal.h"

/* Ports for the guest begin behind the two rings': see XEN_PORT_XENSTORE in domain.h. */
static unsigned int new_port(struct xen_domain *d, struct port init)
{
	unsigned int port = evtchn_find_free(d, XEN_PORT_CONSOLE + 1);

	if (!port)
		return 0;
	init.priority = EVTCHN_FIFO_PRIORITY_DEFAULT;
	init.last_vcpu = d->port[port].last_vcpu;
	init.last_priority = d->port[port].last_priority;
	d->port[port] = init;
	return port;
}

static int64_t alloc_unbound(struct hcall *h)
{
	evtchn_alloc_unbound_t op;
	struct xen_domain *d = h->d;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	if (!xen_is_self(d, op.dom))
		return -EPERM;
	op.port = new_port(
		d, (struct port){ .kind = PORT_UNBOUND,
				  .remote_domid = xen_is_self(d, op.remote_dom) ? d->config.domid : op.remote_dom });
	if (!op.port)
		return -ENOSPC;
	return PUT_ARG(h, h->arg[1], &op);
}

/* Only with itself: backends of ours bind the guest's ports, not the other way round. */
static int64_t bind_interdomain(struct hcall *h)
{
	evtchn_bind_interdomain_t op;
	struct xen_domain *d = h->d;
	struct port *remote;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	if (!xen_is_self(d, op.remote_dom))
		return -ESRCH;
	remote = evtchn_get(d, op.remote_port);
	if (!remote || remote->kind != PORT_UNBOUND || remote->remote_domid != d->config.domid)
		return -EINVAL;
	op.local_port = new_port(d, (struct port){ .kind = PORT_INTERDOMAIN,
						   .remote_domid = d->config.domid,
						   .remote_port = (uint16_t)op.remote_port });
	if (!op.local_port)
		return -ENOSPC;
	remote->kind = PORT_INTERDOMAIN;
	remote->remote_port = (uint16_t)op.local_port;
	evtchn_raise(d, op.local_port); /* as Xen: whatever was sent meanwhile is not lost */
	return PUT_ARG(h, h->arg[1], &op);
}

static int64_t bind_virq(struct hcall *h)
{
	evtchn_bind_virq_t op;
	struct xen_domain *d = h->d;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	if (op.virq >= XEN_VIRQS)
		return -EINVAL;
	if (op.vcpu >= d->vcpus)
		return -ENOENT;
	if (op.vcpu && evtchn_virq_is_global(op.virq))
		return -EINVAL;
	if (d->vcpu[op.vcpu].virq_port[op.virq])
		return -EEXIST;
	op.port = new_port(d, (struct port){ .kind = PORT_VIRQ, .vcpu = (uint8_t)op.vcpu, .virq = (uint8_t)op.virq });
	if (!op.port)
		return -ENOSPC;
	d->vcpu[op.vcpu].virq_port[op.virq] = (uint16_t)op.port;
	return PUT_ARG(h, h->arg[1], &op);
}

static int64_t bind_ipi(struct hcall *h)
{
	evtchn_bind_ipi_t op;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	if (op.vcpu >= h->d->vcpus)
		return -ENOENT;
	op.port = new_port(h->d, (struct port){ .kind = PORT_IPI, .vcpu = (uint8_t)op.vcpu });
	if (!op.port)
		return -ENOSPC;
	return PUT_ARG(h, h->arg[1], &op);
}

static int64_t close_port(struct hcall *h)
{
	evtchn_close_t op;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	if (!evtchn_get(h->d, op.port) || op.port <= XEN_PORT_CONSOLE)
		return -EINVAL;
	evtchn_close(h->d, op.port);
	return 0;
}

static int64_t send(struct hcall *h)
{
	evtchn_send_t op;
	struct port *p;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	p = evtchn_get(h->d, op.port);
	if (!p)
		return -EINVAL;
	switch (p->kind) {
	case PORT_BACKEND:
		if (p->send && p->send(p->arg))
			evtchn_raise(h->d, op.port);
		return 0;
	case PORT_INTERDOMAIN:
		evtchn_raise(h->d, p->remote_port);
		return 0;
	case PORT_IPI:
		evtchn_raise(h->d, op.port);
		return 0;
	case PORT_UNBOUND: /* silently dropped, as Xen does */
		return 0;
	default:
		return -EINVAL;
	}
}

static int64_t status(struct hcall *h)
{
	static const uint32_t of_kind[] = {
		[PORT_FREE] = EVTCHNSTAT_closed,	 [PORT_UNBOUND] = EVTCHNSTAT_unbound,
		[PORT_BACKEND] = EVTCHNSTAT_interdomain, [PORT_INTERDOMAIN] = EVTCHNSTAT_interdomain,
		[PORT_VIRQ] = EVTCHNSTAT_virq,		 [PORT_IPI] = EVTCHNSTAT_ipi,
	};
	evtchn_status_t op;
	struct port *p;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	if (!xen_is_self(h->d, op.dom))
		return -EPERM;
	if (op.port >= XEN_PORTS)
		return -EINVAL;
	p = &h->d->port[op.port];
	op.status = of_kind[p->kind];
	op.vcpu = p->vcpu;
	if (p->kind == PORT_VIRQ)
		op.u.virq = p->virq;
	else if (p->kind == PORT_UNBOUND)
		op.u.unbound.dom = p->remote_domid;
	else if (p->kind == PORT_BACKEND || p->kind == PORT_INTERDOMAIN) {
		op.u.interdomain.dom = p->remote_domid;
		op.u.interdomain.port = p->remote_port;
	}
	return PUT_ARG(h, h->arg[1], &op);
}

static int64_t bind_vcpu(struct hcall *h)
{
	evtchn_bind_vcpu_t op;
	struct port *p;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	p = evtchn_get(h->d, op.port);
	if (op.vcpu >= h->d->vcpus)
		return -ENOENT;
	if (!p || p->kind == PORT_IPI || (p->kind == PORT_VIRQ && !evtchn_virq_is_global(p->virq)))
		return -EINVAL;
	p->vcpu = (uint8_t)op.vcpu;
	return 0;
}

static int64_t unmask(struct hcall *h)
{
	evtchn_unmask_t op;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	if (!op.port || op.port >= XEN_PORTS)
		return -EINVAL;
	evtchn_unmask(h->d, op.port);
	return 0;
}

static int64_t init_control(struct hcall *h)
{
	evtchn_init_control_t op;
	int r;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	r = fifo_init_control(h->d, &op);
	if (r < 0)
		return r;
	op.link_bits = EVTCHN_FIFO_LINK_BITS;
	return PUT_ARG(h, h->arg[1], &op);
}

static int64_t expand_array(struct hcall *h)
{
	evtchn_expand_array_t op;

	return GET_ARG(h, h->arg[1], &op) ? -EFAULT : fifo_expand_array(h->d, op.array_gfn);
}

static int64_t set_priority(struct hcall *h)
{
	evtchn_set_priority_t op;
	struct port *p;

	if (!h->d->fifo)
		return -ENOSYS;
	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	p = evtchn_get(h->d, op.port);
	if (!p || op.priority >= FIFO_QUEUES)
		return -EINVAL;
	p->priority = (uint8_t)op.priority;
	return 0;
}

static int64_t reset(struct hcall *h)
{
	evtchn_reset_t op;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	if (!xen_is_self(h->d, op.dom))
		return -EPERM;
	evtchn_reset(h->d);
	return 0;
}

int64_t hcall_evtchn(struct hcall *h)
{
	switch (h->arg[0]) {
	case EVTCHNOP_bind_interdomain:
		return bind_interdomain(h);
	case EVTCHNOP_bind_virq:
		return bind_virq(h);
	case EVTCHNOP_close:
		return close_port(h);
	case EVTCHNOP_send:
		return send(h);
	case EVTCHNOP_status:
		return status(h);
	case EVTCHNOP_alloc_unbound:
		return alloc_unbound(h);
	case EVTCHNOP_bind_ipi:
		return bind_ipi(h);
	case EVTCHNOP_bind_vcpu:
		return bind_vcpu(h);
	case EVTCHNOP_unmask:
		return unmask(h);
	case EVTCHNOP_reset:
		return reset(h);
	case EVTCHNOP_init_control:
		return init_control(h);
	case EVTCHNOP_expand_array:
		return expand_array(h);
	case EVTCHNOP_set_priority:
		return set_priority(h);
	default:
		return -ENOSYS;
	}
}
