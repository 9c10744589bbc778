// Checks a client's permissions against the tenant's channel rules.
import { CommandError } from '../errors.js'
import type { ChannelSettings } from '../tenant/acl.js'
import type { ChannelName } from '../tenant/channel.js'
import type { Operation } from '../tenant/policy.js'
import type { Client } from './client.js'
import type { TenantRuntime } from './tenant/runtime.js'

/** Returns whether the tenant's channel rules allow the operation. */
export function isAllowed(client: Client, operation: Operation, channel: ChannelName): boolean {
  return client.tenant.rules.decide(client.identity, operation, channel).allowed
}

/** Throws PERMISSION_DENIED with the explanation of the rules. */
export function requireAllowed(client: Client, operation: Operation, channel: ChannelName): void {
  const decision = client.tenant.rules.decide(client.identity, operation, channel)
  if (!decision.allowed) throw new CommandError('PERMISSION_DENIED', decision.message)
}

/**
 * Requires permission to subscribe. A token that names the channel is permission enough, unless a rule denies
 * the client.
 */
export function requireSubscribeAllowed(client: Client, channel: ChannelName, byToken: boolean): void {
  if (!byToken) return requireAllowed(client, 'Subscribe', channel)
  const decision = client.tenant.rules.decide(client.identity, 'Subscribe', channel)
  if (!decision.allowed && decision.reason === 'denied')
    throw new CommandError('PERMISSION_DENIED', decision.message)
}

/**
 * Returns the settings of the most specific rule that matches the channel. Without such a rule all features
 * are off, and only a subscription token allows a client to subscribe.
 */
export function channelSettings(tenant: TenantRuntime, channel: ChannelName): ChannelSettings {
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
