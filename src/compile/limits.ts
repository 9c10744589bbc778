// Computes the effective limits of a tenant: the limits of the plan, lowered by the tenant's own quota.
import { parseDuration } from '../resources/duration.js'
import { guestsMax, type Limits } from '../tenant/policy.js'
import type { Problem } from '../resources/problem.js'
import type { PlanLimits, Quota } from '../resources/limits.js'

/**
 * Returns the effective limits, and one problem for each limit of the quota that is above the limit of the
 * plan.
 */
export function compileLimits(
  plan: { name: string; limits: PlanLimits },
  quota: Quota,
): { limits: Limits; problems: Problem[] } {
  const { api, connections, messages, channels, retention } = plan.limits
  const problems: Problem[] = []

  const refuse = (path: readonly [keyof Quota, string], requested: unknown, allowed: unknown): void => {
    const message =
      `The quota asks for ${path.join('.')} ${String(requested)}; plan "${plan.name}" ` +
      `allows ${String(allowed)}.`
    problems.push({ path: ['spec', 'quota', ...path], reason: 'QuotaAbovePlan', message })
  }
  const lower = (
    path: readonly [keyof Quota, string],
    allowed: number,
    requested: number | undefined,
  ): number => {
    if (requested !== undefined && requested > allowed) refuse(path, requested, allowed)
    return requested ?? allowed
  }

  const quotaConnections = quota.connections ?? {}
  const quotaMessages = quota.messages ?? {}
  const quotaChannels = quota.channels ?? {}
  const quotaRetention = quota.retention ?? {}
  const quotaApi = quota.api ?? {}

  const allowedTtlMs = parseDuration(retention.historyTTL) ?? 0
  const historyTtlMs =
    (quotaRetention.historyTTL === undefined ? undefined : parseDuration(quotaRetention.historyTTL)) ??
    allowedTtlMs
  if (historyTtlMs > allowedTtlMs)
    refuse(['retention', 'historyTTL'], quotaRetention.historyTTL, retention.historyTTL)
  if (quotaRetention.presence && !retention.presence) refuse(['retention', 'presence'], true, false)

  const connectionsMax = lower(['connections', 'max'], connections.max, quotaConnections.max)
  const guests = lower(['connections', 'guests'], guestsMax(connections), quotaConnections.guests)
  // Where neither names it, guests get half of the tenant's own maximum, not half of the plan's.
  const namesGuests = connections.guests !== undefined || quotaConnections.guests !== undefined

  const limits: Limits = {
    connections: {
      max: connectionsMax,
      ...(namesGuests && { guests: Math.min(guests, connectionsMax) }),
      perUser: lower(['connections', 'perUser'], connections.perUser, quotaConnections.perUser),
      connectsPerSecond: lower(
        ['connections', 'connectsPerSecond'],
        connections.connectsPerSecond,
        quotaConnections.connectsPerSecond,
      ),
      commandsPerSecond: lower(
        ['connections', 'commandsPerSecond'],
        connections.commandsPerSecond,
        quotaConnections.commandsPerSecond,
      ),
    },
    messages: {
      publishPerSecond: lower(
        ['messages', 'publishPerSecond'],
        messages.publishPerSecond,
        quotaMessages.publishPerSecond,
      ),
      // A tenant that lowers the rate and sets no burst gets a burst of its own rate, not that of the plan.
      publishBurst: lower(
        ['messages', 'publishBurst'],
        messages.publishBurst ?? messages.publishPerSecond,
        quotaMessages.publishBurst ?? quotaMessages.publishPerSecond,
      ),
      maxBytes: lower(['messages', 'maxBytes'], messages.maxBytes, quotaMessages.maxBytes),
      fanoutPerSecond: lower(
        ['messages', 'fanoutPerSecond'],
        messages.fanoutPerSecond,
        quotaMessages.fanoutPerSecond,
      ),
      readsPerSecond: lower(
        ['messages', 'readsPerSecond'],
        messages.readsPerSecond,
        quotaMessages.readsPerSecond,
      ),
      joinsPerSecond: lower(
        ['messages', 'joinsPerSecond'],
        messages.joinsPerSecond,
        quotaMessages.joinsPerSecond,
      ),
      bytesOutPerSecond: lower(
        ['messages', 'bytesOutPerSecond'],
        messages.bytesOutPerSecond,
        quotaMessages.bytesOutPerSecond,
      ),
    },
    channels: {
      max: lower(['channels', 'max'], channels.max, quotaChannels.max),
      maxSubscribersPerChannel: lower(
        ['channels', 'maxSubscribersPerChannel'],
        channels.maxSubscribersPerChannel,
        quotaChannels.maxSubscribersPerChannel,
      ),
      maxSubscriptionsPerConnection: lower(
        ['channels', 'maxSubscriptionsPerConnection'],
        channels.maxSubscriptionsPerConnection,
        quotaChannels.maxSubscriptionsPerConnection,
      ),
      nameMaxLength: lower(
        ['channels', 'nameMaxLength'],
        channels.nameMaxLength,
        quotaChannels.nameMaxLength,
      ),
    },
    retention: {
      historyMessages: lower(
        ['retention', 'historyMessages'],
        retention.historyMessages,
        quotaRetention.historyMessages,
      ),
      historyTtlMs,
      presence: quotaRetention.presence ?? retention.presence,
      storedBytes: lower(['retention', 'storedBytes'], retention.storedBytes, quotaRetention.storedBytes),
    },
    api: {
      requestsPerSecond: lower(
        ['api', 'requestsPerSecond'],
        api.requestsPerSecond,
        quotaApi.requestsPerSecond,
      ),
    },
  }
  return { limits, problems }
}
