// Effective limits: the plan's, lowered by the tenant's own quota.
import { parseDuration } from '../resources/duration.js'
import type { Limits } from '../tenant/policy.js'
import type { Problem } from '../resources/problem.js'
import type { PlanLimits, Quota } from '../resources/limits.js'

/** The limits, and one problem for each entry of the quota that is above the plan's. */
export function compileLimits(
  plan: { name: string; limits: PlanLimits },
  quota: Quota,
): { limits: Limits; problems: Problem[] } {
  const { connections, messages, channels, retention } = plan.limits
  const problems: Problem[] = []

  const refuse = (path: readonly [keyof Quota, string], asked: unknown, allowed: unknown): void => {
    const message = `The quota asks for ${path.join('.')} ${String(asked)}; plan "${plan.name}" allows ${String(allowed)}.`
    problems.push({ path: ['spec', 'quota', ...path], reason: 'QuotaAbovePlan', message })
  }
  const lower = (
    path: readonly [keyof Quota, string],
    allowed: number,
    asked: number | undefined,
  ): number => {
    if (asked !== undefined && asked > allowed) refuse(path, asked, allowed)
    return asked ?? allowed
  }

  const quotaConnections = quota.connections ?? {}
  const quotaMessages = quota.messages ?? {}
  const quotaChannels = quota.channels ?? {}
  const quotaRetention = quota.retention ?? {}

  const allowedTtlMs = parseDuration(retention.historyTTL) ?? 0
  const historyTtlMs =
    (quotaRetention.historyTTL === undefined ? undefined : parseDuration(quotaRetention.historyTTL)) ?? allowedTtlMs
  if (historyTtlMs > allowedTtlMs) refuse(['retention', 'historyTTL'], quotaRetention.historyTTL, retention.historyTTL)
  if (quotaRetention.presence && !retention.presence) refuse(['retention', 'presence'], true, false)

  const limits: Limits = {
    connections: {
      max: lower(['connections', 'max'], connections.max, quotaConnections.max),
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
      // Who lowers the rate means the rate: without a burst of its own a tenant does not keep the plan's.
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
      nameMaxLength: lower(['channels', 'nameMaxLength'], channels.nameMaxLength, quotaChannels.nameMaxLength),
    },
    retention: {
      historyMessages: lower(
        ['retention', 'historyMessages'],
        retention.historyMessages,
        quotaRetention.historyMessages,
      ),
      historyTtlMs,
      presence: quotaRetention.presence ?? retention.presence,
    },
  }
  return { limits, problems }
}
