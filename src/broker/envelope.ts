// Encodes and decodes publications and announcements in Redis. An encoded publication is a header, which is
// one line of JSON, followed by the unchanged bytes of its data. The data is never parsed.
import { isRecord, parseJson } from '../json.js'
import type { Announcement, ClientInfo, NewPublication, Position, Publication } from './broker.js'

// Header fields have names of one letter and are validated by hand, because every gateway decodes every
// publication of its channels. Publication: t time, x time to live, s skipped session, p publisher (u user, c
// client, n name, i info), g tags. Announcement: k kind, e user edge, p member, m connections
// (instead of naming the member).

interface InfoFields {
  readonly u: string
  readonly c: string
  readonly n?: string | undefined
  readonly i?: string | undefined
}

interface Header {
  readonly t: number
  readonly x?: number | undefined
  readonly s?: string | undefined
  readonly p?: InfoFields | undefined
  readonly g?: readonly (readonly [string, string])[] | undefined
}

interface AnnouncementFields {
  readonly k: 'join' | 'leave'
  readonly e: boolean
  readonly p: InfoFields
  readonly m?: number | undefined
}

const isText = (value: unknown): value is string => typeof value === 'string'
const isTextOrNone = (value: unknown): value is string | undefined => value === undefined || isText(value)
const isNumber = (value: unknown): value is number => typeof value === 'number'

function isInfoFields(value: unknown): value is InfoFields {
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
    (value['p'] === undefined || isInfoFields(value['p'])) &&
    (value['g'] === undefined || isTags(value['g']))
  )
}

function isAnnouncementFields(value: unknown): value is AnnouncementFields {
  return (
    isRecord(value) &&
    (value['k'] === 'join' || value['k'] === 'leave') &&
    typeof value['e'] === 'boolean' &&
    (value['m'] === undefined || isNumber(value['m'])) &&
    isInfoFields(value['p'])
  )
}

/** The message does not quote the input, which may be data of a user. */
function malformed(what: string): Error {
  return new Error(`malformed ${what}`)
}

const newline = 0x0a

/** The place of the time in an envelope, after `{"t":`. */
const timeAt = 5

function encodeInfo(info: ClientInfo): InfoFields {
  return {
    u: info.user,
    c: info.client,
    ...(info.name !== undefined && { n: info.name }),
    ...(info.info && { i: Buffer.from(info.info).toString() }),
  }
}

function decodeInfo({ c, i, n, u }: InfoFields): ClientInfo {
  return { user: u, client: c, name: n, info: i === undefined ? undefined : Buffer.from(i) }
}

/** The encoded info of each connection. All publications of a connection share one info object. */
const infoTexts = new WeakMap<ClientInfo, string>()

function infoText(info: ClientInfo): string {
  const known = infoTexts.get(info)
  if (known !== undefined) return known
  const text = JSON.stringify(encodeInfo(info))
  infoTexts.set(info, text)
  return text
}

/**
 * Encodes a publication. `ttlMs`: how long history returns the publication, in milliseconds; it is part of
 * the header because readers do not know the channel's rule. Absent: the publication does not expire.
 */
export function writeEnvelope(
  publication: NewPublication,
  { timeMs, ttlMs }: { timeMs: number; ttlMs?: number | undefined },
): Buffer {
  const { data, info, skipSession, tags } = publication
  let header = `{"t":${timeMs}`
  if (ttlMs !== undefined) header += `,"x":${ttlMs}`
  if (skipSession !== undefined) header += `,"s":${JSON.stringify(skipSession)}`
  if (info) header += `,"p":${infoText(info)}`
  if (tags) header += `,"g":${JSON.stringify([...tags])}`
  return prefixed(`${header}}\n`, data, 'utf8')
}

/** Encodes a time for `stampTime`. The publications of one pipeline share it. */
export function timeStamp(timeMs: number): Buffer {
  return Buffer.from(String(timeMs), 'latin1')
}

/**
 * Sets the time of an encoded publication in place. Times have 13 digits until the year 2286, and
 * `writeEnvelope` must have been given one.
 */
export function stampTime(envelope: Buffer, time: Buffer): void {
  envelope.set(time, timeAt)
}

/** A publication that was read from a stream, with its time to live in milliseconds. */
export interface StoredPublication extends Publication {
  readonly ttlMs?: number | undefined
}

/**
 * Returns whether the time to live of the publication has passed. `nowMs` is a time of the clock that
 * stamped the publication. `ttlMsMax`: the time to live that the channel's rule allows now.
 */
export function isExpired(
  { timeMs, ttlMs = Infinity }: Pick<StoredPublication, 'timeMs' | 'ttlMs'>,
  nowMs: number,
  ttlMsMax = Infinity,
): boolean {
  return nowMs - timeMs >= Math.min(ttlMs, ttlMsMax)
}

/** Decodes a publication. Throws when the envelope is malformed. */
export function readEnvelope(envelope: Buffer, position: Position): StoredPublication {
  const at = envelope.indexOf(newline)
  const header = parseJson(envelope.toString('utf8', 0, Math.max(0, at)))
  if (!isHeader(header)) throw malformed('publication header')
  return {
    data: envelope.subarray(at + 1),
    ...position,
    timeMs: header.t,
    ttlMs: header.x,
    info: header.p && decodeInfo(header.p),
    tags: header.g && new Map(header.g),
    skipSession: header.s,
  }
}

/** A message on a channel's pub/sub topic. */
export type TopicMessage =
  | { readonly kind: 'publication'; readonly publication: Publication }
  | { readonly kind: 'announcement'; readonly announcement: Announcement }

/** The first byte of each kind of message. */
const messageKinds = { stored: 0x53, ephemeral: 0x50, announcement: 0x41, joined: 0x4d } as const

const lengthBytes = 4

/**
 * Joins messages into one: `M`, then the messages, each after its length. A single message stays unchanged.
 */
export function joinMessages(messages: readonly Buffer[]): Buffer {
  const [first] = messages
  return messages.length === 1 && first ? first : lengthPrefixed(messages, Buffer.of(messageKinds.joined))
}

/** Concatenates the parts after `head`, each with its length before it in four bytes, big-endian. */
export function lengthPrefixed(parts: readonly Buffer[], head: Buffer = Buffer.alloc(0)): Buffer {
  const bytes = parts.reduce((sum, { byteLength }) => sum + lengthBytes + byteLength, head.byteLength)
  const list = Buffer.allocUnsafe(bytes)
  let at = head.copy(list)
  for (const part of parts) {
    at = list.writeUInt32BE(part.byteLength, at)
    at += part.copy(list, at)
  }
  return list
}

/** Yields the messages that were joined, or the single message. Throws when a length exceeds the message. */
export function* splitMessages(joined: Buffer): Iterable<Buffer> {
  if (joined[0] !== messageKinds.joined) return yield joined
  let at = 1
  while (at < joined.byteLength) {
    const from = at + lengthBytes
    at = from <= joined.byteLength ? from + joined.readUInt32BE(at) : Infinity
    if (at > joined.byteLength) throw new Error('a joined message ends too early')
    yield joined.subarray(from, at)
  }
}

/** The message for a stored publication: `S<epoch> <id> <envelope>`. */
export function storedPublicationMessage(position: { epoch: string; id: string }, envelope: Buffer): Buffer {
  return prefixed(`S${position.epoch} ${position.id} `, envelope, 'latin1')
}

/** The message for a publication in a channel without history: `P<envelope>`. */
export function ephemeralMessage(envelope: Buffer): Buffer {
  return prefixed('P', envelope, 'latin1')
}

/** The message for a join or leave: `A<JSON>`. */
export function announcementMessage({ clients, info, kind, userEdge }: Announcement): Buffer {
  const count = clients === undefined ? '' : `,"m":${clients}`
  return Buffer.from(`A{"k":${JSON.stringify(kind)},"e":${userEdge},"p":${infoText(info)}${count}}`)
}

/** Decodes a message. `offsetOf` converts a stream id to an offset. Throws when the message is malformed. */
export function decodeTopicMessage(message: Buffer, offsetOf: (id: string) => number): TopicMessage {
  switch (message[0]) {
    case messageKinds.stored: {
      const space = message.indexOf(0x20)
      const second = message.indexOf(0x20, space + 1)
      const epoch = message.toString('latin1', 1, space)
      const offset = offsetOf(message.toString('latin1', space + 1, second))
      return {
        kind: 'publication',
        publication: readEnvelope(message.subarray(second + 1), { epoch, offset }),
      }
    }
    case messageKinds.ephemeral:
      return {
        kind: 'publication',
        publication: readEnvelope(message.subarray(1), { epoch: '', offset: 0 }),
      }
    case messageKinds.announcement: {
      const announced = parseJson(message.toString('utf8', 1))
      if (!isAnnouncementFields(announced)) throw malformed('announcement')
      const { e, k, m, p } = announced
      const announcement = {
        kind: k,
        userEdge: e,
        info: decodeInfo(p),
        ...(m !== undefined && { clients: m }),
      }
      return { kind: 'announcement', announcement }
    }
    default:
      throw new Error(`unknown message on a channel's topic: its first byte is ${message[0] ?? 'missing'}`)
  }
}

/**
 * Returns `head` followed by `rest`. With `latin1`, which is cheaper, every character of `head` must be one
 * byte.
 */
function prefixed(head: string, rest: Uint8Array, encoding: 'utf8' | 'latin1'): Buffer {
  const whole = Buffer.allocUnsafe(Buffer.byteLength(head, encoding) + rest.byteLength)
  whole.set(rest, whole.write(head, encoding))
  return whole
}
