// Decodes the commands of Centrifuge's official clients, after JSON or protobuf is parsed. Rules that look
// arbitrary copy Centrifugo's behaviour, on which SDKs rely.
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
  DecodedItem,
  SubscribeCommand,
} from '../commands.js'
import { nestingDepth, payloadDepthMax } from '../raw-json.js'
import { parseTagsFilter } from '../tags-filter.js'
import { booleanOrFalse, integerOrZero, stringOrEmpty } from '../zero-values.js'

export const violation: DecodedItem = { kind: 'violation', close: closeCodes.badRequest }
const pong: DecodedItem = { kind: 'pong' }

/**
 * Bit of `flag`: refuse with error 112 instead of replying with a subscription that did not recover. The bit
 * of value 1 offers numeric channel ids, which Parley does not use.
 */
const flagGapIsError = 2

/**
 * JSON.parse rounds numbers above 2^53 − 1. They become 2^53 − 1, which is above every real offset, so the
 * position is unrecoverable and never matches by accident.
 */
const offset = z
  .number()
  .refine((value) => Number.isInteger(value) && value >= 0 && value <= 2 ** 64)
  .nullish()
  .transform((value) => Math.min(value ?? 0, Number.MAX_SAFE_INTEGER))

// Unknown fields are stripped.
const channel = z.string().min(1)
const ChannelRequest = z.object({ channel })
const RecoveringSubscription = z.object({ recover: booleanOrFalse, epoch: stringOrEmpty, offset })
/** Subscriptions by channel: an object in JSON, a map in protobuf. */
const RecoveringSubscriptions = z.preprocess(
  (value) => (value instanceof Map ? Object.fromEntries(value) : value),
  z.record(z.string(), RecoveringSubscription).nullish(),
)
const Connect = z.object({ token: stringOrEmpty, subs: RecoveringSubscriptions })
const Subscribe = z.object({
  channel,
  token: stringOrEmpty,
  type: integerOrZero,
  recover: booleanOrFalse,
  epoch: stringOrEmpty,
  offset,
  positioned: booleanOrFalse,
  recoverable: booleanOrFalse,
  join_leave: booleanOrFalse,
  flag: integerOrZero,
  delta: z.enum(['', 'fossil']).nullish(),
  tf: z.unknown().optional(),
})
const Since = z.object({ epoch: stringOrEmpty, offset })
const History = z.object({
  channel,
  limit: z.int32().nullish(),
  since: Since.nullish(),
  reverse: booleanOrFalse,
})
const Refresh = z.object({ token: stringOrEmpty })
const SubRefresh = z.object({ channel, token: stringOrEmpty })
const Rpc = z.object({ method: stringOrEmpty })

const idMax = 0xffff_ffff

/**
 * Returns the JSON text of a publish command's `data`, or undefined when there is none. It receives the
 * parsed member.
 */
type DataOf = (data: unknown) => string | CommandError | undefined

/**
 * Reads the fields of one method. Returns the command, a refusal, or undefined when the fields break the
 * protocol.
 */
type Reader = (fields: unknown, dataOf: DataOf) => Command | CommandError | undefined

/**
 * The first of these members that is present and not null is the command, whatever else the object contains.
 */
const readers: readonly (readonly [string, Reader])[] = [
  ['connect', reader(Connect, connect)],
  ['subscribe', reader(Subscribe, subscribe)],
  ['unsubscribe', reader(ChannelRequest, (fields) => ({ kind: 'unsubscribe', channel: fields.channel }))],
  ['publish', publish],
  ['presence', reader(ChannelRequest, (fields) => ({ kind: 'presence', channel: fields.channel }))],
  [
    'presence_stats',
    reader(ChannelRequest, (fields) => ({ kind: 'presenceStats', channel: fields.channel })),
  ],
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

/** Decodes one command object. `dataOf` is called only for a publish. Never throws. */
export function decodeWireCommand(message: Readonly<Record<string, unknown>>, dataOf: DataOf): DecodedItem {
  const method = readers.find(([name]) => message[name] !== undefined && message[name] !== null)
  if (method === undefined) return Object.keys(message).length === 0 ? pong : violation
  const [name, read] = method
  const id = idOf(message)
  if (id === undefined || (id === 0 && name !== 'send')) return violation

  const command = read(message[name], dataOf)
  if (command === undefined) return violation
  if (command instanceof CommandError) return { kind: 'refused', ref: id, error: command }
  return { kind: 'command', command, ref: id }
}

/** Returns the command's id, 0 when absent, or undefined when it is not an unsigned 32-bit integer. */
function idOf(message: Readonly<Record<string, unknown>>): number | undefined {
  const id = message['id'] ?? 0
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
    return new CommandError('NOT_AVAILABLE', 'Only stream subscriptions (type 0) are supported')
  }
  const filter = fields.tf === undefined || fields.tf === null ? undefined : parseTagsFilter(fields.tf)
  if (filter instanceof CommandError) return filter
  return {
    kind: 'subscribe',
    channel: fields.channel,
    token: fields.token,
    since: fields.recover ? { epoch: fields.epoch, offset: fields.offset } : undefined,
    joinLeave: fields.join_leave,
    filter,
    // Subscribers with different filters have different last publications; computing a delta for each would
    // cost more than it saves.
    delta: fields.delta === 'fossil' && !filter,
    // An SDK that received `recoverable` without asking sends only `recover` when it reconnects.
    recoverable: fields.recoverable || fields.positioned || fields.recover,
    gapIsError: (fields.flag & flagGapIsError) !== 0,
  }
}

/**
 * Parsed by hand: publishes are the most frequent command, and zod produced a tenth of the garbage of a
 * gateway that handles many of them.
 */
function publish(fields: unknown, dataOf: DataOf): PublishCommand | CommandError | undefined {
  if (!isRecord(fields)) return undefined
  const name = fields['channel']
  const type = fields['type'] ?? 0
  if (typeof name !== 'string' || name === '' || !Number.isSafeInteger(type)) return undefined
  if (type !== 0)
    return new CommandError('NOT_AVAILABLE', 'Map channels (type 1) are not supported; publish with type 0')
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
      'Nothing precedes offset 0: with reverse, since.offset must be at least 1',
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
