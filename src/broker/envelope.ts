// A publication as it lies in Redis: a line of JSON about it, then its data, byte for byte. The data is never parsed.
import { isRecord, parseJson } from '../json.js'
import type { Announcement, ClientInfo, NewPublication, Position, Publication } from './broker.js'

// What lies in Redis has names of one letter, and is checked by hand: every gateway reads every publication of its channels.

interface Info {
  readonly u: string
  readonly c: string
  readonly n?: string | undefined
  readonly i?: string | undefined
}

interface Header {
  readonly t: number
  readonly x?: number | undefined
  readonly s?: string | undefined
  readonly p?: Info | undefined
  readonly g?: readonly (readonly [string, string])[] | undefined
}

interface Announced {
  readonly k: 'join' | 'leave'
  readonly e: boolean
  readonly p: Info
}

const isText = (value: unknown): value is string => typeof value === 'string'
const isTextOrNone = (value: unknown): value is string | undefined => value === undefined || isText(value)
const isNumber = (value: unknown): value is number => typeof value === 'number'

function isInfo(value: unknown): value is Info {
  return (
    isRecord(value) &&
    isText(value['u']) &&
    isText(value['c']) &&
    isTextOrNone(value['n']) &&
    isTextOrNone(value['i'])
  )
}

function isTags(value: unknown): value is readonly (readonly [string, string])[] {
  return (
    Array.isArray(value) &&
    value.every((pair) => Array.isArray(pair) && pair.length === 2 && pair.every(isText))
  )
}

function isHeader(value: unknown): value is Header {
  return (
    isRecord(value) &&
    isNumber(value['t']) &&
    (value['x'] === undefined || isNumber(value['x'])) &&
    isTextOrNone(value['s']) &&
    (value['p'] === undefined || isInfo(value['p'])) &&
    (value['g'] === undefined || isTags(value['g']))
  )
}

function isAnnounced(value: unknown): value is Announced {
  return (
    isRecord(value) &&
    (value['k'] === 'join' || value['k'] === 'leave') &&
    typeof value['e'] === 'boolean' &&
    isInfo(value['p'])
  )
}

/** Without a word of what was read: it may be somebody's. */
function notOurs(what: string): Error {
  return new Error(`${what} is not as a gateway writes it`)
}

const newline = 0x0a

function shortInfo(info: ClientInfo): Info {
  return {
    u: info.user,
    c: info.client,
    ...(info.name !== undefined && { n: info.name }),
    ...(info.info && { i: Buffer.from(info.info).toString() }),
  }
}

function longInfo({ c, i, n, u }: Info): ClientInfo {
  return { user: u, client: c, name: n, info: i === undefined ? undefined : Buffer.from(i) }
}

/** Each connection's is the same in all that it publishes. */
const infoTexts = new WeakMap<ClientInfo, string>()

function infoText(info: ClientInfo): string {
  const known = infoTexts.get(info)
  if (known !== undefined) return known
  const text = JSON.stringify(shortInfo(info))
  infoTexts.set(info, text)
  return text
}

/** `ttlMs`: how long it may be read from history; it travels with the entry, since readers know no rules. */
export function encodeEnvelope(
  publication: NewPublication,
  { timeMs, ttlMs }: { timeMs: number; ttlMs?: number | undefined },
): Buffer {
  const { data, info, skipSession, tags } = publication
  let header = `{"t":${timeMs}`
  if (ttlMs !== undefined) header += `,"x":${ttlMs}`
  if (skipSession !== undefined) header += `,"s":${JSON.stringify(skipSession)}`
  if (info) header += `,"p":${infoText(info)}`
  if (tags) header += `,"g":${JSON.stringify([...tags])}`
  return headed(`${header}}\n`, data, 'utf8')
}

/** A publication out of a stream, with the end of its time. */
export interface StoredPublication extends Publication {
  readonly ttlMs?: number | undefined
}

export function isExpired({ timeMs, ttlMs }: StoredPublication, nowMs: number): boolean {
  return ttlMs !== undefined && nowMs - timeMs >= ttlMs
}

/** Throws on what no gateway of ours wrote. */
export function decodeEnvelope(envelope: Buffer, position: Position): StoredPublication {
  const at = envelope.indexOf(newline)
  const header = parseJson(envelope.toString('utf8', 0, Math.max(0, at)))
  if (!isHeader(header)) throw notOurs('the head of a publication')
  return {
    data: envelope.subarray(at + 1),
    ...position,
    timeMs: header.t,
    ttlMs: header.x,
    info: header.p && longInfo(header.p),
    tags: header.g && new Map(header.g),
    skipSession: header.s,
  }
}

/** What goes over pub/sub on a channel's topic. */
export type TopicMessage =
  | { readonly kind: 'publication'; readonly publication: Publication }
  | { readonly kind: 'announcement'; readonly announcement: Announcement }

/** A message's first byte. */
const kinds = { stored: 0x53, passing: 0x50, announced: 0x41, several: 0x4d } as const

const lengthBytes = 4

/** Several as one: `M`, then the list of them. */
export function joinedMessages(messages: readonly Buffer[]): Buffer {
  const [first] = messages
  return messages.length === 1 && first ? first : listOf(messages, Buffer.of(kinds.several))
}

/** Each with its length before it, in four bytes, big end first. */
export function listOf(parts: readonly Buffer[], head: Buffer = Buffer.alloc(0)): Buffer {
  const bytes = parts.reduce((sum, { byteLength }) => sum + lengthBytes + byteLength, head.byteLength)
  const list = Buffer.allocUnsafe(bytes)
  let at = head.copy(list)
  for (const part of parts) {
    at = list.writeUInt32BE(part.byteLength, at)
    at += part.copy(list, at)
  }
  return list
}

/** What was joined, or the one that is alone. Throws on what no gateway of ours sent. */
export function* messagesIn(joined: Buffer): Iterable<Buffer> {
  if (joined[0] !== kinds.several) return yield joined
  let at = 1
  while (at < joined.byteLength) {
    const from = at + lengthBytes
    at = from <= joined.byteLength ? from + joined.readUInt32BE(at) : Infinity
    if (at > joined.byteLength) throw new Error('a message that holds several ends too early')
    yield joined.subarray(from, at)
  }
}

/** Of a channel with history: `S<epoch> <id> <envelope>`. */
export function storedMessage(position: { epoch: string; id: string }, envelope: Buffer): Buffer {
  return headed(`S${position.epoch} ${position.id} `, envelope, 'latin1')
}

/** Of a channel without: `P<envelope>`. */
export function passingMessage(envelope: Buffer): Buffer {
  return headed('P', envelope, 'latin1')
}

export function announcedMessage({ info, kind, userEdge }: Announcement): Buffer {
  return Buffer.from(`A{"k":${JSON.stringify(kind)},"e":${userEdge},"p":${infoText(info)}}`)
}

/** Throws on what no gateway of ours sent. */
export function decodeTopicMessage(message: Buffer, offsetOf: (id: string) => number): TopicMessage {
  switch (message[0]) {
    case kinds.stored: {
      const space = message.indexOf(0x20)
      const second = message.indexOf(0x20, space + 1)
      const epoch = message.toString('latin1', 1, space)
      const offset = offsetOf(message.toString('latin1', space + 1, second))
      return {
        kind: 'publication',
        publication: decodeEnvelope(message.subarray(second + 1), { epoch, offset }),
      }
    }
    case kinds.passing:
      return {
        kind: 'publication',
        publication: decodeEnvelope(message.subarray(1), { epoch: '', offset: 0 }),
      }
    case kinds.announced: {
      const announced = parseJson(message.toString('utf8', 1))
      if (!isAnnounced(announced)) throw notOurs('an announcement')
      const { e, k, p } = announced
      return { kind: 'announcement', announcement: { kind: k, userEdge: e, info: longInfo(p) } }
    }
    default:
      throw new Error(`unknown message on a channel's topic, beginning with ${message[0] ?? 'nothing'}`)
  }
}

/** In latin1 a head has as many bytes as characters, and nobody has to count them. */
function headed(head: string, rest: Uint8Array, encoding: 'utf8' | 'latin1'): Buffer {
  const whole = Buffer.allocUnsafe(Buffer.byteLength(head, encoding) + rest.byteLength)
  whole.set(rest, whole.write(head, encoding))
  return whole
}
