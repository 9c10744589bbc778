// A client's publish → rules → `send` → acknowledgement.
import type { PublishCommand, ReplyRef } from '../../protocol/commands.js'
import { parseChannelName } from '../../tenant/channel.js'
import { requireAllowed } from '../authorize.js'
import { send } from '../publish-message.js'
import type { Session } from '../session.js'

export async function publish(session: Session, command: PublishCommand, ref: ReplyRef): Promise<void> {
  const { identity, tenant } = session
  const { nameMaxLength } = tenant.policy.limits.channels
  const channel = parseChannelName(command.channel, { maxLength: nameMaxLength })
  requireAllowed(session, 'Publish', channel)
  const { durability, position } = await send(session, {
    channel,
    data: command.data,
    info: identity.info,
    skipSession: command.echo ? undefined : session.id,
    idempotencyKey: scopedKey(session, command),
  })
  session.reply(ref, { kind: 'publish', channel, position, durability })
}

/** A key belongs to its user: what two users happen to call alike is not the same publish. */
function scopedKey(session: Session, command: PublishCommand): string | undefined {
  return command.idempotencyKey === undefined
    ? undefined
    : `${session.identity.user}\n${command.idempotencyKey}`
}
