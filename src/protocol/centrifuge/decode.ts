// What Centrifuge's official clients ask, once JSON or protobuf is read. Where a rule looks arbitrary, it is what Centrifugo answers and SDKs rely on.
import { z } from 'zod'
import type { Position } from '../../broker/broker.js'
import { CommandError } from '../../errors.js'
import { isRecord } from '../../json.js'
import { closeCodes } from '../codes.js'
import type {
  Command,
  ConnectCommand,
  HistoryCommand,
  PublishCommand,
  Received,
  SubscribeCommand,
} from '../commands.js'
import { nestingDepth, payloadDepthMax } from '../raw-json.js'
import { readTagsFilter } from '../tags-filter.js'
import { flag, integer, text } from '../zero-values.js'

export const violation: Received = { kind: 'violation', close: closeCodes.badRequest }
const pong: Received = { kind: 'pong' }

/** Bit of `flag`: answer error 112 rather than a subscription that did not recover. Bit 1 offers numeric channel ids; we have none. */
const flagGapIsError = 2

/** Numbers above 2^53 − 1 were rounded by JSON.parse. They become 2^53 − 1, above every real offset: unrecoverable, never a wrong match. */
const offset = z
  .number()
  .refine((value) => Number.isInteger(value) && value >= 0 && value <= 2 ** 64)
  .nullish()
  .transform((value) => Math.min(value ?? 0, Number.MAX_SAFE_INTEGER))

// Unknown fields are stripped.
const channel = z.string().min(1)
const OfChannel = z.object({ channel })
const Recover = z.object({ recover: flag, epoch: text, offset })
/** By channel: an object in JSON, a map in protobuf. */
const Recovers = z.preprocess(
  (value) => (value instanceof Map ? Object.fromEntries(value) : value),
  z.record(z.string(), Recover).nullish(),
)
const Connect = z.object({ token: text, subs: Recovers })
const Subscribe = z.object({
  channel,
  token: text,
  type: integer,
  recover: flag,
  epoch: text,
  offset,
  positioned: flag,
  recoverable: flag,
  join_leave: flag,
  flag: integer,
  delta: z.enum(['', 'fossil']).nullish(),
  tf: z.unknown().optional(),
})
const Since = z.object({ epoch: text, offset })
const History = z.object({ channel, limit: z.int32().nullish(), since: Since.nullish(), reverse: flag })
const Refresh = z.object({ token: text })
const SubRefresh = z.object({ channel, token: text })
const Rpc = z.object({ method: text })

const idMax = 0xffff_ffff

/** The text of a publish command's `data` as it came; undefined: none did. It gets the member as it was read. */
type DataOf = (data: unknown) => string | CommandError | undefined

/** What a method's fields say: a command, a refusal, or undefined when they break the protocol. */
type Reader = (fields: unknown, dataOf: DataOf) => Command | CommandError | undefined

/** The first of these that is there and not null is the command, whatever else the object holds. */
const readers: readonly (readonly [string, Reader])[] = [
  ['connect', reader(Connect, connect)],
  ['subscribe', reader(Subscribe, subscribe)],
  ['unsubscribe', reader(OfChannel, (fields) => ({ kind: 'unsubscribe', channel: fields.channel }))],
  ['publish', publish],
  ['presence', reader(OfChannel, (fields) => ({ kind: 'presence', channel: fields.channel }))],
  ['presence_stats', reader(OfChannel, (fields) => ({ kind: 'presenceStats', channel: fields.channel }))],
  ['history', reader(History, history)],
  // Pings go from server to client only.
  ['ping', () => undefined],
  ['send', reader(z.object({}), () => ({ kind: 'send' }))],
  ['rpc', reader(Rpc, ({ method }) => ({ kind: 'rpc', method }))],
  ['refresh', reader(Refresh, ({ token }) => ({ kind: 'refresh', token }))],
  [
    'sub_refresh',
    reader(SubRefresh, (fields) => ({ kind: 'subRefresh', channel: fields.channel, token: fields.token })),
  ],
]

/** One command object. `dataOf` is asked only when it is a publish. Never throws. */
export function decodeEnvelope(envelope: Readonly<Record<string, unknown>>, dataOf: DataOf): Received {
  const method = readers.find(([name]) => envelope[name] !== undefined && envelope[name] !== null)
  if (method === undefined) return Object.keys(envelope).length === 0 ? pong : violation
  const [name, read] = method
  const id = idOf(envelope)
  if (id === undefined || (id === 0 && name !== 'send')) return violation

  const command = read(envelope[name], dataOf)
  if (command === undefined) return violation
  if (command instanceof CommandError) return { kind: 'refused', ref: id, error: command }
  return { kind: 'command', command, ref: id }
}

/** Undefined: it is no number that fits the protocol's field. */
function idOf(envelope: Readonly<Record<string, unknown>>): number | undefined {
  const id = envelope['id'] ?? 0
  return typeof id === 'number' && Number.isInteger(id) && id >= 0 && id <= idMax ? id : undefined
}

function reader<Fields>(
  schema: z.ZodType<Fields>,
  read: (fields: Fields, dataOf: DataOf) => Command | CommandError,
): Reader {
  return (value, dataOf) => {
    const fields = schema.safeParse(value)
    return fields.success ? read(fields.data, dataOf) : undefined
  }
}

function connect({ subs, token }: z.infer<typeof Connect>): ConnectCommand {
  const recovering = Object.entries(subs ?? {}).filter(([, { recover }]) => recover)
  if (recovering.length === 0) return { kind: 'connect', token }
  const since = new Map(recovering.map(([name, { epoch, offset: at }]) => [name, { epoch, offset: at }]))
  return { kind: 'connect', token, since }
}

function subscribe(fields: z.infer<typeof Subscribe>): SubscribeCommand | CommandError {
  if (fields.type !== 0) {
    return new CommandError('NOT_AVAILABLE', 'Only stream subscriptions (type 0) are offered')
  }
  const filter = fields.tf === undefined || fields.tf === null ? undefined : readTagsFilter(fields.tf)
  if (filter instanceof CommandError) return filter
  return {
    kind: 'subscribe',
    channel: fields.channel,
    token: fields.token,
    since: fields.recover ? { epoch: fields.epoch, offset: fields.offset } : undefined,
    joinLeave: fields.join_leave,
    filter,
    // Whoever filters differently had another one last: deltas for each would cost more than they save.
    delta: fields.delta === 'fossil' && !filter,
    // An SDK that was told `recoverable` unasked sends `recover` alone when it comes back.
    recoverable: fields.recoverable || fields.positioned || fields.recover,
    gapIsError: (fields.flag & flagGapIsError) !== 0,
  }
}

/** Read by hand: it is most of what clients say, and zod made a tenth of the garbage of a gateway that is busy with it. */
function publish(fields: unknown, dataOf: DataOf): PublishCommand | CommandError | undefined {
  if (!isRecord(fields)) return undefined
  const name = fields['channel']
  const type = fields['type'] ?? 0
  if (typeof name !== 'string' || name === '' || !Number.isSafeInteger(type)) return undefined
  if (type !== 0) return new CommandError('NOT_AVAILABLE', 'There are no map channels (type 1) here')
  const data = dataOf(fields['data'])
  if (data instanceof CommandError) return data
  if (data === undefined || data === 'null') {
    return new CommandError('BAD_REQUEST', 'data is missing')
  }
  if (nestingDepth(data) > payloadDepthMax) {
    return new CommandError('BAD_REQUEST', `data is nested more than ${payloadDepthMax} levels deep`)
  }
  return { kind: 'publish', channel: name, data: Buffer.from(data), echo: true }
}

function history(fields: z.infer<typeof History>): HistoryCommand | CommandError {
  const since: Position | undefined = fields.since ?? undefined
  if (fields.reverse && since?.offset === 0) {
    return new CommandError(
      'BAD_REQUEST',
      'Nothing lies before offset 0: reverse needs a since.offset above it',
    )
  }
  return {
    kind: 'history',
    channel: fields.channel,
    limit: Math.max(fields.limit ?? 0, -1),
    since,
    reverse: fields.reverse,
  }
}
