// The methods publish and broadcast. The messages of backends are subject to the tenant's quotas and the
// channel's settings, like those of users.
import type { z } from 'zod'
import type { Published, Tags } from '../../broker/broker.js'
import { CommandError } from '../../errors.js'
import type { MessageFields } from '../../protocol/message-fields.js'
import { publishMessage } from '../../session/publish-message.js'
import { apiErrorFields } from './errors.js'
import { readRawPayload } from './raw-payload.js'
import { parseApiChannel, type ApiMethodCall } from './method.js'
import type { BroadcastParams, PublishParams } from './schema.js'

type Message = Omit<z.infer<typeof PublishParams>, 'channel'>

export async function publishMethod(
  call: ApiMethodCall,
  fields: z.infer<typeof PublishParams>,
): Promise<MessageFields> {
  return publishFields(await publishTo(call, fields.channel, fields, payloadOf(call.requestText, fields)))
}

/** An invalid message fails the whole broadcast; a failure on one channel fails only that channel. */
export async function broadcastMethod(
  call: ApiMethodCall,
  fields: z.infer<typeof BroadcastParams>,
): Promise<MessageFields> {
  const payload = payloadOf(call.requestText, fields)
  const responses = fields.channels.map(async (channel) => {
    try {
      return { result: publishFields(await publishTo(call, channel, fields, payload)) }
    } catch (error) {
      return { error: apiErrorFields(call.toRefusal(error)) }
    }
  })
  return { responses: await Promise.all(responses) }
}

async function publishTo(
  call: ApiMethodCall,
  name: string,
  message: Message,
  data: Uint8Array,
): Promise<Published> {
  const channel = parseApiChannel(call, name)
  call.caller.requirePermission('Publish', channel)
  const { gateway, tenant } = call
  return publishMessage(
    { context: gateway.context, tenant },
    {
      channel,
      data,
      tags: tagsOf(message),
      // The keys of users contain a line break, so these never collide with them. All backends of a tenant
      // count as one publisher.
      idempotencyKey: message.idempotency_key || undefined,
      skipHistory: message.skip_history ?? false,
    },
  )
}

function publishFields({ durability, position }: Published): MessageFields {
  return { offset: position?.offset, epoch: position?.epoch, durability }
}

function tagsOf({ tags }: Message): Tags | undefined {
  const pairs = Object.entries(tags ?? {})
  return pairs.length === 0 ? undefined : new Map(pairs)
}

/**
 * Returns the text of `data` byte for byte, or the decoded `b64data`. Throws BAD_REQUEST or NOT_AVAILABLE.
 */
function payloadOf(text: string, message: Message): Uint8Array {
  if (message.version)
    throw new CommandError('NOT_AVAILABLE', 'version: Parley does not support versioned publications')
  const json = readRawPayload(text, 'data', message.b64data)
  if (json === undefined) throw new CommandError('BAD_REQUEST', 'data is missing')
  return Buffer.from(json)
}
