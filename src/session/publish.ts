// publish → validate → rules → quotas → broker → acknowledgement. All checks come before the first await, so that a session's publishes
// reach the broker in the order they were sent.
import { CommandError } from '../errors.js'
import type { PublishCommand, ReplyRef } from '../protocol/commands.js'
import { parseChannelName } from '../tenant/channel.js'
import { stripMarkup } from './sanitize.js'
import { requireAllowed, settingsOf } from './rights.js'
import type { Session } from './session.js'

export async function publish(session: Session, command: PublishCommand, ref: ReplyRef): Promise<void> {
  const { tenant, identity, context } = session
  const { limits, tenantId } = tenant.policy
  const startedMs = context.clock.monotonicMs()
  const channel = parseChannelName(command.channel, { maxLength: limits.channels.nameMaxLength })
  const bytes = command.data.byteLength
  if (bytes > limits.messages.maxBytes) {
    throw new CommandError(
      'MESSAGE_TOO_LARGE',
      `Cannot publish to "${channel}": the message has ${bytes} of at most ${limits.messages.maxBytes} bytes`,
    )
  }
  requireAllowed(session, 'Publish', channel)
  const settings = settingsOf(session, channel)
  if (settings.history) tenant.checkChannel(channel)
  tenant.chargePublish(channel)
  if (settings.history) tenant.channels.published(channel, settings.history.ttlMs)

  const published = await context.broker.publish(
    { tenantId, channel },
    {
      data: settings.sanitize === 'stripMarkup' ? stripMarkup(command.data) : command.data,
      info: identity.info,
      skipSession: command.echo ? undefined : session.id,
    },
    {
      history: settings.history ?? undefined,
      idempotencyKey: scopedKey(session, command),
      durability: settings.durability,
    },
  )
  if (!published.repeated) {
    tenant.countPublication(settings.rule)
    context.metrics.publications.inc()
  }
  session.reply(ref, {
    kind: 'publish',
    channel,
    position: published.position,
    durability: published.durability,
  })
  context.metrics.publishSeconds.observe((context.clock.monotonicMs() - startedMs) / 1000)
}

/** A key belongs to its user: what two users happen to call alike is not the same publish. */
function scopedKey(session: Session, command: PublishCommand): string | undefined {
  return command.idempotencyKey === undefined
    ? undefined
    : `${session.identity.user}\n${command.idempotencyKey}`
}
