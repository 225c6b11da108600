/* SPDX-License-Identifier: BSD-3-Clause */
/* SendTargets (RFC 7143, Appendix C). Control reactor. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "target/target.h"

/* All targets of a SendTargets answer, at most. */
#define SEND_TARGETS_MAX (16u << 20)

/*
 * Appends TargetName= and TargetAddress= pairs for @which: "All" (discovery
 * sessions), a name, or "" (the session's own target, @own). Lists what
 * @initiator, coming from @peer, may log in to. @local: the address that the
 * connection came to; it stands in for wildcard portals.
 * 0, or -EINVAL for a value that is not allowed in this session.
 */
int send_targets(struct targets *t, const char *which,
		 const struct target_node *own, const char *initiator,
		 const struct sockaddr_storage *peer,
		 const struct sockaddr_storage *local, struct buf *out);
