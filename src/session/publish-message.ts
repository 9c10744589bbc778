// Publishes a message whose permission has been checked, for clients and for the server API: checks the
// size, charges the quota, calls the broker, and counts. No check changes the order of the publishes of a
// channel, so they reach the broker in the order in which they were sent.
import type { ClientInfo, Published, Tags } from '../broker/broker.js'
import { CommandError } from '../errors.js'
import type { ChannelName } from '../tenant/channel.js'
import { channelSettings } from './authorize.js'
import type { SessionContext } from './context.js'
import { stripMarkup } from './sanitize.js'
import type { TenantRuntime } from './tenant/runtime.js'

export interface PublishRequest {
  readonly channel: ChannelName
  /** JSON text without raw newlines. */
  readonly data: Uint8Array
  /** The publishing client. Absent for publications of the tenant's backend. */
  readonly info?: ClientInfo | undefined
  readonly tags?: Tags | undefined
  /** The id of a session that does not receive the publication. */
  readonly skipSession?: string | undefined
  /**
   * The caller makes the key unique to the publisher: equal keys of two publishers are different publishes.
   */
  readonly idempotencyKey?: string | undefined
  /** Delivers to current subscribers only, also where the channel has a history. Default: false. */
  readonly skipHistory?: boolean | undefined
  /** How long the gateway has delayed the publish. Default: what the event loop has delayed. */
  readonly delayedMs?: number | undefined
}

/**
 * Throws CommandError: MESSAGE_TOO_LARGE, CHANNEL_LIMIT, STORAGE_LIMIT, QUOTA_EXCEEDED, and the errors of
 * `Broker.publish`.
 */
export async function publishMessage(
  { context, tenant }: { context: SessionContext; tenant: TenantRuntime },
  request: PublishRequest,
): Promise<Published> {
  const { channel, data, idempotencyKey, info, skipSession, tags } = request
  const { limits, tenantId } = tenant.policy
  const startedMs = context.clock.monotonicMs()
  if (data.byteLength > limits.messages.maxBytes) {
    throw new CommandError(
      'MESSAGE_TOO_LARGE',
      `Cannot publish to "${channel}": the message has ${data.byteLength} of at most ${limits.messages.maxBytes} bytes`,
    )
  }
  const settings = channelSettings(tenant, channel)
  const history = request.skipHistory ? undefined : (settings.history ?? undefined)
  if (history) tenant.quota.checkStored(channel, context.broker.storage.storedBytes(tenantId))
  tenant.quota.rates.chargePublish(channel, request.delayedMs)
  if (history) {
    // Only the first publications of a channel wait here, and they keep their order.
    const admission = tenant.quota.admitHistory(channel)
    if (admission) await admission
    tenant.channels.addPublication(channel, history.ttlMs)
  }

  const published = await context.broker.publish(
    { tenantId, channel },
    { data: settings.sanitize === 'stripMarkup' ? stripMarkup(data) : data, info, skipSession, tags },
    { history, idempotencyKey, durability: settings.durability },
  )
  if (!published.repeated) {
    tenant.quota.counters.countPublication(settings.rule)
    context.metrics.publications.add()
  }
  context.metrics.publishSeconds.observe((context.clock.monotonicMs() - startedMs) / 1000)
  return published
}
