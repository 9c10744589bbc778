// Removes expired publications from channels that nobody reads or writes, and keeps the counts of what
// histories occupy. All gateways sweep all partitions of a shard, without a leader: a sweep is atomic, moves
// the stream to the end of the list, and is harmless when two gateways do it. The order of streams in the
// list is the order in which their entries expire, so idle channels cost nothing until then.
import { z } from 'zod'
import {
  channelOfStreamKey,
  channelOfSweepMember,
  listedKey,
  partitionOf,
  storedBytesKey,
  streamKeyPattern,
  sweepKey,
  sweepMember,
  type TenantChannel,
} from '../../redis/keys.js'
import type { LiveRedis } from '../../redis/link.js'
import { addScript } from '../../redis/scripts.js'
import { ruleInForce, type HistoryPolicies } from '../storage.js'
import { locationOf } from './channel-keys.js'
import type { StoredBytes } from './stored-bytes.js'
import { dueStreams, recheckStreams, sweepStream } from './sweep-scripts.js'

const Members = z.array(z.instanceof(Buffer))
const ScanReply = z.tuple([z.string(), z.array(z.string())])

/**
 * A partition is looked at every `rounds` calls of `sweep`, and at most `sweptMax` of its streams are swept
 * then. A partition with more streams to sweep is looked at in the next call again. With one call per
 * second, a gateway sweeps up to 8,192 streams per second.
 */
const rounds = 4
const sweptMax = 64
/** The most commands of one pipeline, so that Redis serves others in between. */
const commandsMax = 256
/** The number of keys scanned per call of `list`. A million keys take 17 minutes. */
const scannedMax = 1_000
/** While no scan runs, every so many calls of `list` try to begin one. */
const idleCallsMax = 60
/** How long after a partition was listed it is listed again, in seconds. */
const listedTtlS = 3_600

export interface SweeperOptions {
  /** The partitions that the shard holds. */
  readonly partitions: () => readonly number[]
  readonly policies: () => HistoryPolicies
  readonly storedBytes: StoredBytes
}

interface Scan {
  readonly cursor: string
  readonly partitions: ReadonlySet<number>
}

/** Sweeps the streams of one shard. The caller calls its methods about once a second. */
export class Sweeper {
  readonly #options: SweeperOptions
  #round = 0
  /** Partitions that had more streams to sweep than one call sweeps. */
  #backlog = new Set<number>()
  /** Where the scan for streams continues. Undefined: no scan runs. */
  #scan: Scan | undefined
  /** How many calls of `list` do nothing, because another gateway has listed all partitions. */
  #idleCalls = 0

  constructor(options: SweeperOptions) {
    this.#options = options
    // Gateways that start together do not look at the same partitions at the same time.
    this.#round = Math.floor(Math.random() * rounds)
  }

  /** Sweeps the streams that are due in some of the partitions. */
  async sweep(live: LiveRedis): Promise<void> {
    this.#round = (this.#round + 1) % rounds
    const looked = this.#options
      .partitions()
      .filter((partition) => partition % rounds === this.#round || this.#backlog.has(partition))
    if (looked.length === 0) return
    const pipeline = live.client.pipeline()
    for (const partition of looked)
      addScript(pipeline, dueStreams, { keys: [sweepKey(partition)], args: [sweptMax] })
    const replies = await live.run(pipeline)
    const due: TenantChannel[] = []
    looked.forEach((partition, index) => {
      const reply = replies[index]
      this.#backlog.delete(partition)
      // The partition moves to another shard at the moment.
      if (reply instanceof Error) return
      const members = Members.parse(reply)
      if (members.length === sweptMax) this.#backlog.add(partition)
      for (const member of members) due.push(channelOfSweepMember(String(member)))
    })
    for (let at = 0; at < due.length; at += commandsMax)
      await this.#sweepAll(live, due.slice(at, at + commandsMax))
  }

  async #sweepAll(live: LiveRedis, channels: readonly TenantChannel[]): Promise<void> {
    const { policies, storedBytes } = this.#options
    const pipeline = live.client.pipeline()
    for (const ref of channels) {
      const { storedKey, streamKey, sweepKey: sweep } = locationOf(ref)
      const { size = '', ttlMs = '' } = ruleInForce(policies(), ref) ?? {}
      addScript(pipeline, sweepStream, {
        keys: [streamKey, storedKey, sweep],
        args: [ref.channel, sweepMember(ref), size, ttlMs],
      })
    }
    const replies = await live.run(pipeline)
    channels.forEach((ref, index) => {
      const bytes = replies[index]
      if (bytes instanceof Error) return
      storedBytes.set(ref.tenantId, partitionOf(ref), Number(bytes))
    })
  }

  /** Makes all channels of a tenant due, because its rules have changed. */
  async recheck(live: LiveRedis, tenantId: string): Promise<void> {
    let open = this.#options.partitions().map((partition) => ({ partition, cursor: '0' }))
    while (open.length > 0) {
      const pipeline = live.client.pipeline()
      for (const { cursor, partition } of open)
        addScript(pipeline, recheckStreams, {
          keys: [storedBytesKey(tenantId, partition), sweepKey(partition)],
          args: [tenantId, cursor],
        })
      const replies = await live.run(pipeline)
      open = open.flatMap(({ partition }, index) => {
        const cursor = replies[index]
        return cursor instanceof Error || String(cursor) === '0'
          ? []
          : [{ partition, cursor: String(cursor) }]
      })
    }
  }

  /**
   * Lists streams that are not listed for the sweep, because a gateway of an earlier version stored them.
   * Each call scans some keys. One gateway scans a partition, once an hour.
   */
  async list(live: LiveRedis, gatewayId: string): Promise<void> {
    if (!this.#scan && this.#idleCalls > 0) {
      this.#idleCalls -= 1
      return
    }
    this.#scan ??= await this.#beginScan(live, gatewayId)
    if (!this.#scan) {
      this.#idleCalls = idleCallsMax
      return
    }
    const { cursor, partitions } = this.#scan
    const page = live.client.pipeline()
    page.call('SCAN', cursor, 'MATCH', streamKeyPattern, 'COUNT', scannedMax, 'TYPE', 'stream')
    const [reply] = await live.run(page)
    if (reply instanceof Error) throw reply
    const [next, keys] = ScanReply.parse(reply)
    const pipeline = live.client.pipeline()
    for (const key of keys) {
      const ref = channelOfStreamKey(key)
      if (!ref) continue
      const partition = partitionOf(ref)
      if (partitions.has(partition)) pipeline.zadd(sweepKey(partition), 'NX', 0, sweepMember(ref))
    }
    if (pipeline.length > 0) await live.run(pipeline)
    this.#scan = next === '0' ? undefined : { cursor: next, partitions }
  }

  async #beginScan(live: LiveRedis, gatewayId: string): Promise<Scan | undefined> {
    const held = this.#options.partitions()
    if (held.length === 0) return undefined
    const pipeline = live.client.pipeline()
    for (const partition of held) pipeline.set(listedKey(partition), gatewayId, 'EX', listedTtlS, 'NX')
    const replies = await live.run(pipeline)
    const claimed = held.filter((_, index) => replies[index] === 'OK')
    return claimed.length === 0 ? undefined : { cursor: '0', partitions: new Set(claimed) }
  }
}
