// Several methods in one request, each answered for itself.
import { z } from 'zod'
import { CommandError } from '../../errors.js'
import type { Fields } from '../../protocol/fields.js'
import { rawItems, rawValue } from '../../protocol/raw-json.js'
import { refusalFields } from './errors.js'
import type { ApiCall } from './method.js'
import { runMethod } from './methods.js'
import { channelsMax, type Batch } from './schema.js'

type Command = z.infer<typeof Batch>['commands'][number]

const OfChannels = z.object({ channels: z.array(z.unknown()) })

/** Calls `done` with each command's method and its code. Rejects with CommandError when the batch as such is none. */
export async function runBatch(
  call: ApiCall,
  fields: z.infer<typeof Batch>,
  done: (method: string, code: string) => void,
): Promise<Fields> {
  const { commands, parallel } = fields
  if (commands.reduce((sum, command) => sum + channelsIn(command), 0) > channelsMax)
    throw new CommandError(
      'BAD_REQUEST',
      `commands: all broadcasts together may have ${channelsMax} channels`,
    )
  const texts = rawItems(call.text, ['commands']) ?? []
  const replies: Fields[] = []
  const running: Promise<Fields>[] = []
  for (const [index, command] of commands.entries()) {
    const reply = replyTo({ ...call, text: texts[index] ?? '' }, command, done)
    if (parallel) running.push(reply)
    else replies.push(await reply)
  }
  return { replies: [...replies, ...(await Promise.all(running))] }
}

async function replyTo(
  call: ApiCall,
  command: Command,
  done: (method: string, code: string) => void,
): Promise<Fields> {
  const method = Object.keys(command).find((name) => command[name] !== null) ?? ''
  try {
    const text = rawValue(call.text, [method]) ?? ''
    const result = await runMethod({ ...call, text }, method, command[method])
    done(method, 'ok')
    return { [method]: result }
  } catch (error) {
    const refusal = call.refuse(error)
    done(method, refusal.code)
    return { error: refusalFields(refusal) }
  }
}

function channelsIn({ broadcast }: Command): number {
  const parsed = OfChannels.safeParse(broadcast)
  return parsed.success ? parsed.data.channels.length : 1
}
