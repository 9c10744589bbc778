// size → quotas → broker → counts: a publish whose right is proven, be it a client's or a backend's. All checks come before the first await,
// so that publishes reach the broker in the order they were sent.
import type { ClientInfo, Published, Tags } from '../broker/broker.js'
import { CommandError } from '../errors.js'
import type { ChannelName } from '../tenant/channel.js'
import type { SessionContext } from './context.js'
import { settingsIn } from './authorize.js'
import { stripMarkup } from './sanitize.js'
import type { TenantState } from './tenant/runtime.js'

export interface Sending {
  readonly channel: ChannelName
  /** JSON text without raw newlines. */
  readonly data: Uint8Array
  /** Absent: nobody's, the server's own. */
  readonly info?: ClientInfo | undefined
  readonly tags?: Tags | undefined
  /** Session that must not get it back. */
  readonly skipSession?: string | undefined
  /** Scoped by whoever sends: what two of them happen to call alike is not the same publish. */
  readonly idempotencyKey?: string | undefined
  /** To who is there alone, also where the channel has a history. */
  readonly skipHistory?: boolean | undefined
}

/** Throws CommandError: MESSAGE_TOO_LARGE, CHANNEL_LIMIT, QUOTA_EXCEEDED, and what `Broker.publish` refuses with. */
export async function send(
  { context, tenant }: { context: SessionContext; tenant: TenantState },
  sending: Sending,
): Promise<Published> {
  const { channel, data, idempotencyKey, info, skipSession, tags } = sending
  const { limits, tenantId } = tenant.policy
  const startedMs = context.clock.monotonicMs()
  if (data.byteLength > limits.messages.maxBytes) {
    throw new CommandError(
      'MESSAGE_TOO_LARGE',
      `Cannot publish to "${channel}": the message has ${data.byteLength} of at most ${limits.messages.maxBytes} bytes`,
    )
  }
  const settings = settingsIn(tenant, channel)
  const history = sending.skipHistory ? undefined : (settings.history ?? undefined)
  if (history) tenant.checkChannel(channel)
  tenant.chargePublish(channel)
  if (history) tenant.channels.published(channel, history.ttlMs)

  const published = await context.broker.publish(
    { tenantId, channel },
    { data: settings.sanitize === 'stripMarkup' ? stripMarkup(data) : data, info, skipSession, tags },
    { history, idempotencyKey, durability: settings.durability },
  )
  if (!published.repeated) {
    tenant.countPublication(settings.rule)
    context.metrics.publications.add()
  }
  context.metrics.publishSeconds.observe((context.clock.monotonicMs() - startedMs) / 1000)
  return published
}
