// Reads streams. Each read is one script that returns a consistent epoch, top and list of entries. The reads
// of one turn of the event loop share a pipeline, and equal reads share an answer. When nothing else proves
// that the replicas have the entries, a fence proves it: after the reads the pipeline writes to a key of this
// gateway and sends a WAIT, which covers everything written before it.
import { z } from 'zod'
import { abortable } from '../../deadline.js'
import { CommandError } from '../../errors.js'
import { BatchRunner } from '../../redis/batch-runner.js'
import { fenceKey } from '../../redis/keys.js'
import type { RedisLink } from '../../redis/link.js'
import { inTurns } from '../../redis/routing/in-turns.js'
import { isRedirect, RedirectedError } from '../../redis/routing/redirects.js'
import { addScript } from '../../redis/scripts.js'
import { isSameStream, type Position, type Publication } from '../broker.js'
import { isExpired, readEnvelope } from '../envelope.js'
import { follows, generationOf, idOf, offsetOf } from '../stream-id.js'
import type { HistoryRule } from '../storage.js'
import type { StreamLocation } from './channel-keys.js'
import { newNonce } from './known-epochs.js'
import { readBytesMax, readStream, writeFence } from './scripts.js'

/** One read of a stream. */
export interface StreamRead extends StreamLocation {
  /** The lower bound, exclusive. With `reverse` it is the upper bound, exclusive. Default: no bound. */
  readonly since?: Position | undefined
  /** The highest offset, inclusive. Default: the top. */
  readonly upTo?: number | undefined
  /** The rule in force. Default: publications are returned as long as they were published for. */
  readonly rule?: HistoryRule | undefined
  /** The most publications that are returned. With 0 the page contains only the top. */
  readonly limit: number
  /** True: the newest publication is the first. Default false. */
  readonly reverse?: boolean | undefined
}

export interface StreamPage {
  readonly publications: readonly Publication[]
  readonly top: Position
  /** See `HistoryPage.continuous`. */
  readonly continuous: boolean
  /** True when `limit` or the bytes of one read were reached, so that more publications may follow. */
  readonly cut: boolean
  /** False: it is not proven that enough replicas have the publications. */
  readonly fenced: boolean
}

export interface StreamReaderOptions {
  readonly link: RedisLink
  /**
   * Aborted when the shard holds no partition any more. After that all reads are rejected with
   * RedirectedError.
   */
  readonly retired: AbortSignal
  readonly gatewayId: string
  /** The partitions that the shard holds: a fence may be written to any of them. */
  readonly partitions: () => readonly number[]
  readonly waitReplicas: () => number
  /** The timeout of a WAIT, in milliseconds. */
  readonly waitMs: number
  /** How long a read waits for a connection, in milliseconds. */
  readonly patienceMs: number
}

/**
 * The reads of one pipeline, and those of them that return publications: a page has up to `readBytesMax`.
 */
const [readsMax, pagesMax] = [512, 64]
/** The lifetime of a fence in seconds. Nothing reads a fence; the expiry only removes it. */
const fenceTtlS = 3_600

const ReadReply = z.tuple([
  z.instanceof(Buffer),
  z.instanceof(Buffer),
  z.number(),
  z.array(z.tuple([z.instanceof(Buffer), z.tuple([z.instanceof(Buffer), z.instanceof(Buffer)])])),
  z.number(),
])

interface Caller {
  resolve(page: StreamPage): void
  reject(error: unknown): void
}

/** A read that has not been sent yet, and the callers that share it. */
interface PendingRead {
  readonly read: StreamRead
  readonly callers: Caller[]
}

/**
 * Sends the reads of one connection. With `fence: true` it adds a fence to every pipeline. It then waits for
 * replicas, so it needs its own connection.
 */
export class StreamReader {
  readonly #options: StreamReaderOptions
  readonly #fence: boolean
  readonly #batches: BatchRunner
  /**
   * The unsent reads by all their parameters. Clients that reconnect at the same time often send equal reads.
   */
  readonly #pending = new Map<string, PendingRead>()
  /**
   * The number of fences that were refused because their partition was moving. Such a partition accepts no
   * new key.
   */
  #fencesRefused = 0

  constructor(options: StreamReaderOptions, { fence }: { fence: boolean }) {
    this.#options = options
    this.#fence = fence
    // Only one pipeline is sent at a time: a read behind another pipeline's WAIT would miss its deadline
    // although the connection works.
    this.#batches = new BatchRunner({
      waiting: () => this.#pending.size,
      runBatch: () => this.#readBatch(),
      onError: (error) => {
        for (const pending of this.#pending.values()) rejectAll(pending, error)
        this.#pending.clear()
      },
    })
  }

  /**
   * Reads a stream. Rejects with BROKER_UNAVAILABLE when Redis does not answer, and with RedirectedError when
   * another shard holds the partition.
   */
  read(read: StreamRead): Promise<StreamPage> {
    const { limit, reverse, rule, since, streamKey, upTo } = read
    const id = JSON.stringify([streamKey, since, upTo, limit, reverse, rule])
    return new Promise((resolve, reject) => {
      const pending = this.#pending.get(id)
      if (pending) return void pending.callers.push({ resolve, reject })
      this.#pending.set(id, { read, callers: [{ resolve, reject }] })
      this.#batches.start()
    })
  }

  /** Takes at most `max` reads. The tenants take turns. */
  #take(max: number): PendingRead[] {
    const taken: [string, PendingRead][] = []
    let pages = 0
    for (const entry of inTurns([...this.#pending], ([, { read }]) => read.streamKey)) {
      if (entry[1].read.limit > 0) pages += 1
      if (taken.length === max || pages > pagesMax) break
      taken.push(entry)
    }
    for (const [id] of taken) this.#pending.delete(id)
    return taken.map(([, pending]) => pending)
  }

  async #readBatch(): Promise<void> {
    const batch = this.#take(readsMax)
    try {
      await this.#readAll(batch)
    } catch (error) {
      const { retired } = this.#options
      const expected = error instanceof CommandError || error instanceof RedirectedError
      const reason = retired.aborted
        ? new RedirectedError('the shard is retired')
        : expected
          ? error
          : readUnavailable(error)
      for (const pending of batch) rejectAll(pending, reason)
    }
  }

  async #readAll(batch: readonly PendingRead[]): Promise<void> {
    const { gatewayId, link, patienceMs, retired, waitMs, waitReplicas } = this.#options
    const live = link.current ?? (await abortable(retired, link.ready(patienceMs)))
    const replicas = this.#fence ? waitReplicas() : 0
    const pipeline = live.client.pipeline()
    for (const { read } of batch) addScript(pipeline, readStream, scriptCall(read))
    if (replicas > 0) {
      const fence = fenceKey(this.#fencePartition(batch), gatewayId)
      addScript(pipeline, writeFence, { keys: [fence], args: [fenceTtlS] })
      pipeline.call('WAIT', replicas, waitMs)
    }
    const replies = await live.run(pipeline, { deadlineMs: waitMs + 1_000 })
    const [written, reached] = replies.slice(-2)
    const fenceMoved = replicas > 0 && isRedirect(written)
    if (fenceMoved) this.#fencesRefused += 1
    // A WAIT after a refused write proves nothing.
    const fenced =
      !this.#fence ||
      replicas === 0 ||
      (String(written) === 'OK' &&
        typeof reached === 'number' &&
        reached >= replicas &&
        (await live.confirmMaster()))
    batch.forEach((pending, index) => {
      const { callers, read } = pending
      const reply = replies[index]
      if (isRedirect(reply)) return rejectAll(pending, new RedirectedError(reply.message))
      if (fenceMoved) return rejectAll(pending, new RedirectedError('the partition of the fence is moving'))
      if (reply instanceof Error) {
        if (reply.message.startsWith('NOSCRIPT')) live.discard('the scripts of the node were flushed')
        return rejectAll(pending, readUnavailable(reply))
      }
      const page = pageOf(read, ReadReply.parse(reply), { fenced })
      for (const caller of callers) caller.resolve(page)
    })
  }

  /**
   * Returns the partition to which the fence is written. It may be any partition of this master, because the
   * fence only has to be written after the reads.
   */
  #fencePartition(batch: readonly PendingRead[]): number {
    const held = this.#options.partitions()
    return held[this.#fencesRefused % held.length] ?? batch[0]?.read.partition ?? 0
  }
}

function rejectAll({ callers }: PendingRead, error: unknown): void {
  for (const caller of callers) caller.reject(error)
}

function scriptCall(read: StreamRead): { keys: string[]; args: (string | number)[] } {
  const { channel, epochKey, limit, recordKey, reverse, rule, since, storedKey, streamKey, upTo } = read
  const ownId = since && !reverse ? idOf(since.offset) : ''
  const bound = since ? `(${idOf(since.offset)}` : undefined
  const range = reverse
    ? ['XREVRANGE', bound ?? '+', '-']
    : ['XRANGE', bound ?? '-', upTo === undefined ? '+' : idOf(upTo)]
  // The script reads at least one entry, to detect whether something is missing.
  return {
    keys: [streamKey, epochKey, recordKey, storedKey],
    args: [
      ...range,
      ownId === '' ? limit : Math.max(limit, 1),
      ownId,
      channel,
      rule?.size ?? '',
      rule?.ttlMs ?? '',
      newNonce().slice(0, 8),
    ],
  }
}

function pageOf(
  read: StreamRead,
  reply: z.infer<typeof ReadReply>,
  { fenced }: { fenced: boolean },
): StreamPage {
  const [epochBytes, topId, ownExists, entries, nowMs] = reply
  const epoch = epochBytes.toString('latin1')
  const { limit, reverse, rule, since, upTo } = read
  const streamTop = offsetOf(topId.toString('latin1'))
  const all = entries.map(([id, [, envelope]]) =>
    readEnvelope(envelope, { epoch, offset: offsetOf(id.toString('latin1')) }),
  )
  const publications = all.filter((publication) => !isExpired(publication, nowMs, rule?.ttlMs))
  const otherEpoch = since !== undefined && since.epoch !== '' && !isSameStream(since.epoch, epoch)
  return {
    publications: otherEpoch ? [] : publications.slice(0, limit),
    top: { epoch, offset: upTo === undefined ? streamTop : Math.min(upTo, streamTop) },
    continuous:
      !since ||
      reverse === true ||
      (!otherEpoch && isContinuous(since, { all, publications, ownExists: ownExists === 1, streamTop })),
    cut: limit > 0 && (entries.length >= limit || bytesOf(entries) >= readBytesMax),
    fenced,
  }
}

function bytesOf(entries: z.infer<typeof ReadReply>[3]): number {
  return entries.reduce((sum, [, [, envelope]]) => sum + envelope.byteLength, 0)
}

/**
 * Returns whether everything after `since` is still in the stream. This is proven if nothing was published
 * after `since`, if the direct successor of `since` is there, or if the entry at `since` itself is there and
 * the next entry is of another generation.
 */
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
  // An expired entry counts as gone, even while it is still in the stream.
  if (publications.length < all.length || publications.length === 0) return false
  const first = publications[0]?.offset ?? 0
  if (follows(first, since.offset)) return true
  return ownExists && generationOf(first) !== generationOf(since.offset)
}

/** The error of a read that Redis did not answer. */
export function readUnavailable(cause: unknown): CommandError {
  return new CommandError('BROKER_UNAVAILABLE', 'Redis does not answer at the moment. Try again', {
    retryAfterMs: 1_000,
    cause,
  })
}
