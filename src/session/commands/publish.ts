// The publish command: checks the permission, publishes, and replies when the broker has acknowledged.
import type { PublishCommand, ReplyRef } from '../../protocol/commands.js'
import { parseChannelName } from '../../tenant/channel.js'
import { requireAllowed } from '../authorize.js'
import type { Client } from '../client.js'
import { publishMessage } from '../publish-message.js'

export async function handlePublish(client: Client, command: PublishCommand, ref: ReplyRef): Promise<void> {
  const { identity, tenant } = client
  const { nameMaxLength } = tenant.policy.limits.channels
  const channel = parseChannelName(command.channel, { maxLength: nameMaxLength })
  requireAllowed(client, 'Publish', channel)
  const { durability, position } = await publishMessage(client, {
    channel,
    data: command.data,
    info: identity.info,
    skipSession: command.echo ? undefined : client.id,
    idempotencyKey: scopedKey(client, command),
    delayedMs: client.delayedMs,
  })
  client.reply(ref, { kind: 'publish', channel, position, durability })
}

/** Scopes an idempotency key to its user: equal keys of two users are different publishes. */
function scopedKey(client: Client, command: PublishCommand): string | undefined {
  return command.idempotencyKey === undefined
    ? undefined
    : `${client.identity.user}\n${command.idempotencyKey}`
}
