// Reading streams: each read is one script (epoch, top and entries of one moment); reads of a turn share a pipeline, and who asks
// the same an answer. Where nothing else proves that replicas have what was read, a fence does: a write to a key of ours and a WAIT behind the
// reads, which covers all before it.
import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { CommandError } from '../../errors.js'
import { unlessAborted } from '../../deadline.js'
import { ElsewhereError, liesElsewhere } from '../../redis/routing/redirects.js'
import { fenceKey } from '../../redis/keys.js'
import type { RedisLink } from '../../redis/link.js'
import { Rounds } from '../../redis/batch-runner.js'
import { streamIdleTtlMs, type Position, type Publication } from '../broker.js'
import { decodeEnvelope, isExpired } from '../envelope.js'
import { addScript } from '../../redis/scripts.js'
import { readStream } from './scripts.js'
import { follows, generationOf, idOf, offsetOf } from '../stream-id.js'

export interface StreamRead {
  readonly partition: number
  readonly streamKey: string
  readonly epochKey: string
  /** Exclusive; in reverse the upper bound. */
  readonly since?: Position | undefined
  /** Inclusive. */
  readonly upTo?: number | undefined
  /** 0: only epoch and top. */
  readonly limit: number
  readonly reverse?: boolean | undefined
}

export interface StreamPage {
  readonly publications: readonly Publication[]
  readonly top: Position
  /** As in HistoryPage. */
  readonly continuous: boolean
  /** `limit` was reached before the end. */
  readonly cut: boolean
  /** False: it could not be proven that replicas have what was read. */
  readonly fenced: boolean
}

export interface StreamReaderOptions {
  readonly link: RedisLink
  /** From then on all is refused with ElsewhereError. */
  readonly retired: AbortSignal
  readonly gatewayId: string
  /** What the shard holds: a fence may stand in any of it. */
  readonly partitions: () => readonly number[]
  readonly waitReplicas: () => number
  readonly waitMs: number
  readonly epochMs: () => number
  /** How long a read waits for a connection. */
  readonly patienceMs: number
}

/** So long an epoch is kept that somebody asked for and nobody has published under. */
const unusedEpochTtlS = 3_600

const ReadReply = z.tuple([
  z.instanceof(Buffer),
  z.instanceof(Buffer),
  z.number(),
  z.array(z.tuple([z.instanceof(Buffer), z.tuple([z.instanceof(Buffer), z.instanceof(Buffer)])])),
])

interface Asker {
  resolve(page: StreamPage): void
  reject(error: unknown): void
}

/** A read that was not sent yet. */
interface Waiting {
  readonly read: StreamRead
  readonly askers: Asker[]
}

/** One connection's reads. `fence: true` proves every page that is not bounded by `upTo`; it waits for replicas, so it has a connection of its own. */
export class StreamReads {
  readonly #options: StreamReaderOptions
  readonly #fence: boolean
  readonly #rounds: Rounds
  /** By what is asked: clients who come back together missed the same. */
  readonly #waiting = new Map<string, Waiting>()
  /** Counts fences that were refused where they were to stand: a partition that moves takes no new key. */
  #fencesRefused = 0

  constructor(options: StreamReaderOptions, { fence }: { fence: boolean }) {
    this.#options = options
    this.#fence = fence
    // Behind a WAIT that waits, the next would miss its deadline through no fault of the connection.
    this.#rounds = new Rounds({
      waiting: () => this.#waiting.size,
      round: () => this.#readSome(),
      failed: (error) => {
        for (const waiting of this.#take(this.#waiting.size)) refuse(waiting, error)
      },
    })
  }

  /** Rejects with BROKER_UNAVAILABLE when Redis does not answer, with ElsewhereError where the shard does not hold it. */
  read(read: StreamRead): Promise<StreamPage> {
    const { limit, reverse, since, streamKey, upTo } = read
    const asked = JSON.stringify([streamKey, since, upTo, limit, reverse])
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(asked)
      if (waiting) return void waiting.askers.push({ resolve, reject })
      this.#waiting.set(asked, { read, askers: [{ resolve, reject }] })
      this.#rounds.begin()
    })
  }

  #take(max: number): Waiting[] {
    const taken = [...this.#waiting].slice(0, max)
    for (const [asked] of taken) this.#waiting.delete(asked)
    return taken.map(([, waiting]) => waiting)
  }

  async #readSome(): Promise<void> {
    const group = this.#take(groupMax)
    try {
      await this.#readAll(group)
    } catch (error) {
      const { retired } = this.#options
      const known = error instanceof CommandError || error instanceof ElsewhereError
      const refusal = retired.aborted
        ? new ElsewhereError('the shard is retired')
        : known
          ? error
          : unreadable(error)
      for (const waiting of group) refuse(waiting, refusal)
    }
  }

  async #readAll(group: readonly Waiting[]): Promise<void> {
    const { gatewayId, link, patienceMs, retired, waitMs, waitReplicas } = this.#options
    const live = link.current ?? (await unlessAborted(retired, link.ready(patienceMs)))
    const replicas = this.#fence ? waitReplicas() : 0
    const pipeline = live.client.pipeline()
    for (const { read } of group) addScript(pipeline, readStream, scriptCall(read))
    if (replicas > 0) {
      const fence = fenceKey(this.#fencePartition(group), gatewayId)
      pipeline.set(fence, '1', 'EX', fenceTtlS).call('WAIT', replicas, waitMs)
    }
    const replies = await live.run(pipeline, { deadlineMs: waitMs + 1_000 })
    const [written, reached] = replies.slice(-2)
    const unfenceable = replicas > 0 && liesElsewhere(written)
    if (unfenceable) this.#fencesRefused += 1
    // A WAIT behind a write that was refused waits for nothing.
    const fenced =
      !this.#fence ||
      replicas === 0 ||
      (written === 'OK' && typeof reached === 'number' && reached >= replicas && (await live.stands()))
    group.forEach((waiting, index) => {
      const { askers, read } = waiting
      const reply = replies[index]
      if (liesElsewhere(reply)) return refuse(waiting, new ElsewhereError(reply.message))
      if (unfenceable) return refuse(waiting, new ElsewhereError('the fence lies elsewhere'))
      if (reply instanceof Error) {
        if (reply.message.startsWith('NOSCRIPT')) live.discard('its scripts were flushed')
        return refuse(waiting, unreadable(reply))
      }
      const page = pageOf(read, ReadReply.parse(reply), { fenced, nowMs: this.#options.epochMs() })
      for (const asker of askers) asker.resolve(page)
    })
  }

  /** Any partition of this master will do, whatever is read: the write only has to come after it. */
  #fencePartition(group: readonly Waiting[]): number {
    const held = this.#options.partitions()
    return held[this.#fencesRefused % held.length] ?? group[0]?.read.partition ?? 0
  }
}

function refuse({ askers }: Waiting, error: unknown): void {
  for (const asker of askers) asker.reject(error)
}

const groupMax = 512
/** Nobody reads it: it only must not stay for ever. */
const fenceTtlS = 3_600

function scriptCall(read: StreamRead): { keys: string[]; args: (string | number)[] } {
  const { epochKey, limit, reverse, since, streamKey, upTo } = read
  const own = since && !reverse ? idOf(since.offset) : ''
  const bound = since ? `(${idOf(since.offset)}` : undefined
  const range = reverse
    ? ['XREVRANGE', bound ?? '+', '-']
    : ['XRANGE', bound ?? '-', upTo === undefined ? '+' : idOf(upTo)]
  // One entry at least, to tell whether something is missing.
  return {
    keys: [streamKey, epochKey],
    args: [...range, own === '' ? limit : Math.max(limit, 1), own, newEpoch(), unusedEpochTtlS],
  }
}

function pageOf(
  read: StreamRead,
  reply: z.infer<typeof ReadReply>,
  { fenced, nowMs }: { fenced: boolean; nowMs: number },
): StreamPage {
  const [epochBytes, topId, ownExists, entries] = reply
  const epoch = epochBytes.toString('latin1')
  const { limit, reverse, since, upTo } = read
  const streamTop = offsetOf(topId.toString('latin1'))
  const all = entries.map(([id, [, envelope]]) =>
    decodeEnvelope(envelope, { epoch, offset: offsetOf(id.toString('latin1')) }),
  )
  const publications = all.filter((publication) => !isExpired(publication, nowMs))
  const otherEpoch = since !== undefined && since.epoch !== '' && since.epoch !== epoch
  return {
    publications: otherEpoch ? [] : publications.slice(0, limit),
    top: { epoch, offset: upTo === undefined ? streamTop : Math.min(upTo, streamTop) },
    continuous:
      !since ||
      reverse === true ||
      (!otherEpoch && isContinuous(since, { all, publications, ownExists: ownExists === 1, streamTop })),
    cut: limit > 0 && entries.length >= limit,
    fenced,
  }
}

/** Is everything after `since` there? Our own entry proves it; so does its successor by number; so does that nothing came after it. */
function isContinuous(
  since: Position,
  found: {
    all: readonly Publication[]
    publications: readonly Publication[]
    ownExists: boolean
    streamTop: number
  },
): boolean {
  const { all, ownExists, publications, streamTop } = found
  if (since.offset > streamTop) return false
  if (since.offset === streamTop) return true
  // What has expired is gone, whether it still lies there or not.
  if (publications.length < all.length || publications.length === 0) return false
  const first = publications[0]?.offset ?? 0
  if (follows(first, since.offset)) return true
  return ownExists && generationOf(first) !== generationOf(since.offset)
}

export function newEpoch(): string {
  return randomBytes(9).toString('base64url')
}

export const streamIdleTtlS = streamIdleTtlMs / 1000

export function unreadable(cause: unknown): CommandError {
  return new CommandError('BROKER_UNAVAILABLE', 'Redis does not answer at the moment. Try again', {
    retryAfterMs: 1_000,
    cause,
  })
}
