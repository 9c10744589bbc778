// Asks the tenant's channel rules on a session's behalf.
import { CommandError } from '../errors.js'
import type { ChannelSettings } from '../tenant/acl.js'
import type { ChannelName } from '../tenant/channel.js'
import type { Operation } from '../tenant/policy.js'
import type { Session } from './session.js'
import type { TenantState } from './tenant/runtime.js'

export function isAllowed(session: Session, operation: Operation, channel: ChannelName): boolean {
  return session.tenant.rules.decide(session.identity, operation, channel).allowed
}

/** Throws PERMISSION_DENIED with the rules' own explanation. */
export function requireAllowed(session: Session, operation: Operation, channel: ChannelName): void {
  const decision = session.tenant.rules.decide(session.identity, operation, channel)
  if (!decision.allowed) throw new CommandError('PERMISSION_DENIED', decision.explanation)
}

/** Of the rule that matches most exactly. A channel that somebody is allowed on has a rule, except by subscription token alone. */
export function settingsOf(session: Session, channel: ChannelName): ChannelSettings {
  return settingsIn(session.tenant, channel)
}

/** As `settingsOf`, for whoever is no session. */
export function settingsIn(tenant: TenantState, channel: ChannelName): ChannelSettings {
  return tenant.rules.settings(channel) ?? noSettings
}

const noSettings: ChannelSettings = {
  rule: '',
  history: null,
  presence: false,
  joinLeave: false,
  durability: undefined,
  sanitize: 'none',
}
