// Several methods in one request, each answered for itself.
import { z } from 'zod'
import { CommandError } from '../errors.js'
import { array, object, type Pieces } from '../protocol/json-pieces.js'
import { rawItems, rawValue } from '../protocol/raw-json.js'
import { errorPieces } from './api-error.js'
import type { ApiCall } from './api-method.js'
import { runMethod } from './api-methods.js'
import { channelsMax, type Batch } from './api-schema.js'

type Command = z.infer<typeof Batch>['commands'][number]

const OfChannels = z.object({ channels: z.array(z.unknown()) })

/** Calls `done` with each command's method and its code. Rejects with CommandError when the batch as such is none. */
export async function runBatch(
  call: ApiCall,
  fields: z.infer<typeof Batch>,
  done: (method: string, code: string) => void,
): Promise<Pieces> {
  const { commands, parallel } = fields
  if (commands.reduce((sum, command) => sum + channelsIn(command), 0) > channelsMax)
    throw new CommandError(
      'BAD_REQUEST',
      `commands: all broadcasts together may have ${channelsMax} channels`,
    )
  const texts = rawItems(call.text, ['commands']) ?? []
  const replies: Pieces[] = []
  const running: Promise<Pieces>[] = []
  for (const [index, command] of commands.entries()) {
    const reply = replyTo({ ...call, text: texts[index] ?? '' }, command, done)
    if (parallel) running.push(reply)
    else replies.push(await reply)
  }
  return object({ replies: array([...replies, ...(await Promise.all(running))]) })
}

async function replyTo(
  call: ApiCall,
  command: Command,
  done: (method: string, code: string) => void,
): Promise<Pieces> {
  const method = Object.keys(command).find((name) => command[name] !== null) ?? ''
  try {
    const text = rawValue(call.text, [method]) ?? ''
    const result = await runMethod({ ...call, text }, method, command[method])
    done(method, 'ok')
    return object({ [method]: result })
  } catch (error) {
    const refusal = call.refuse(error)
    done(method, refusal.code)
    return object({ error: errorPieces(refusal) })
  }
}

function channelsIn({ broadcast }: Command): number {
  const parsed = OfChannels.safeParse(broadcast)
  return parsed.success ? parsed.data.channels.length : 1
}
