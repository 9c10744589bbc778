// publish and broadcast: a backend's messages, by the tenant's quotas and the channel's own settings like anybody's.
import type { z } from 'zod'
import type { Published, Tags } from '../../broker/broker.js'
import { CommandError } from '../../errors.js'
import type { Fields } from '../../protocol/fields.js'
import { send } from '../../session/publish-message.js'
import { refusalFields } from './errors.js'
import { jsonOf } from './raw-payload.js'
import { channelOf, type ApiCall } from './method.js'
import type { Broadcast, Publish } from './schema.js'

type Message = Omit<z.infer<typeof Publish>, 'channel'>

export async function publish(call: ApiCall, fields: z.infer<typeof Publish>): Promise<Fields> {
  return published(await sendTo(call, fields.channel, fields, payloadOf(call.text, fields)))
}

/** What is wrong with the message fails it as a whole, what is wrong with a channel that channel alone. */
export async function broadcast(call: ApiCall, fields: z.infer<typeof Broadcast>): Promise<Fields> {
  const payload = payloadOf(call.text, fields)
  const responses = fields.channels.map(async (channel) => {
    try {
      return { result: published(await sendTo(call, channel, fields, payload)) }
    } catch (error) {
      return { error: refusalFields(call.refuse(error)) }
    }
  })
  return { responses: await Promise.all(responses) }
}

async function sendTo(call: ApiCall, name: string, message: Message, data: Uint8Array): Promise<Published> {
  const channel = channelOf(call, name)
  call.caller.require('Publish', channel)
  const { gateway, tenant } = call
  return send(
    { context: gateway.context, tenant },
    {
      channel,
      data,
      tags: tagsOf(message),
      // Apart from users' own, which hold a line break: the backends of a tenant are one publisher.
      idempotencyKey: message.idempotency_key || undefined,
      skipHistory: message.skip_history ?? false,
    },
  )
}

function published({ durability, position }: Published): Fields {
  return { offset: position?.offset, epoch: position?.epoch, durability }
}

function tagsOf({ tags }: Message): Tags | undefined {
  const pairs = Object.entries(tags ?? {})
  return pairs.length === 0 ? undefined : new Map(pairs)
}

/** Of `data` the very text that came. Throws BAD_REQUEST or NOT_AVAILABLE. */
function payloadOf(text: string, message: Message): Uint8Array {
  if (message.version) throw new CommandError('NOT_AVAILABLE', 'version: publications have none here')
  const json = jsonOf(text, 'data', message.b64data)
  if (json === undefined) throw new CommandError('BAD_REQUEST', 'data is missing')
  return Buffer.from(json)
}
