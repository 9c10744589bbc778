// The method batch: several methods in one request, each with its own reply.
import { z } from 'zod'
import { CommandError } from '../../errors.js'
import type { MessageFields } from '../../protocol/message-fields.js'
import { rawItems, rawValue } from '../../protocol/raw-json.js'
import { apiErrorFields } from './errors.js'
import type { ApiMethodCall } from './method.js'
import { runMethod } from './methods.js'
import { channelsMax, type BatchParams } from './schema.js'

type Command = z.infer<typeof BatchParams>['commands'][number]

/** The most commands of a batch that run at the same time. */
const parallelMax = 8

const OfChannels = z.object({ channels: z.array(z.unknown()) })

/**
 * Runs the commands and calls `done` with the method and the result code of each. Rejects with BAD_REQUEST
 * when the batch as a whole is invalid.
 */
export async function runBatch(
  call: ApiMethodCall,
  fields: z.infer<typeof BatchParams>,
  done: (method: string, code: string) => void,
): Promise<MessageFields> {
  const { commands, parallel } = fields
  if (commands.reduce((sum, command) => sum + channelsIn(command), 0) > channelsMax)
    throw new CommandError(
      'BAD_REQUEST',
      `commands: all broadcasts of a batch together may have at most ${channelsMax} channels`,
    )
  const texts = rawItems(call.requestText, ['commands']) ?? []
  const replies: MessageFields[] = []
  const waiting = commands.entries()
  const worker = async (): Promise<void> => {
    for (const [index, command] of waiting)
      replies[index] = await replyTo({ ...call, requestText: texts[index] ?? '' }, command, done)
  }
  await Promise.all(Array.from({ length: parallel ? parallelMax : 1 }, worker))
  return { replies }
}

async function replyTo(
  call: ApiMethodCall,
  command: Command,
  done: (method: string, code: string) => void,
): Promise<MessageFields> {
  const method = Object.keys(command).find((name) => command[name] !== null) ?? ''
  try {
    const text = rawValue(call.requestText, [method]) ?? ''
    const result = await runMethod({ ...call, requestText: text }, method, command[method])
    done(method, 'ok')
    return { [method]: result }
  } catch (error) {
    const refusal = call.toRefusal(error)
    done(method, refusal.code)
    return { error: apiErrorFields(refusal) }
  }
}

function channelsIn({ broadcast }: Command): number {
  const parsed = OfChannels.safeParse(broadcast)
  return parsed.success ? parsed.data.channels.length : 1
}
