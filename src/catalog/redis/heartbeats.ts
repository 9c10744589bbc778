// The heartbeats of gateways in Redis. The controller uses them to prove which revisions are enforced, and
// `/stats` uses them to report on all gateways.
import { z } from 'zod'
import { parseJson } from '../../json.js'
import type { Log } from '../../log.js'
import { pause } from '../../deadline.js'
import { catalogKeys, type CatalogKeys } from '../../redis/keys.js'
import type { LiveRedis, Prepare, RedisLink } from '../../redis/link.js'
import { isRedisUnavailable, replyErrorOf, runScript } from '../../redis/run-script.js'
import { writeHeartbeat, loadCatalogScripts, readHeartbeats } from './scripts.js'
import { HeartbeatPayload, UsageByTenant, type GatewayReport, type LiveGateway } from '../heartbeat.js'

const ReadReply = z.tuple([z.string(), z.array(z.string()), z.array(z.string())])

/** The most problems that a heartbeat lists by name. `problemCount` is the number of all problems. */
const problemsMax = 100

/** How often each gateway sends a heartbeat. */
export const heartbeatIntervalMs = 5_000
const ttlMs = 15_000
const retryMs = 1_000
/**
 * The shortest time between two heartbeats, in milliseconds, because thousands of changes may follow each
 * other quickly.
 */
const intervalMinMs = 50
const removeDeadlineMs = 1_000

/**
 * Reads all live gateways, sorted by id. Malformed entries are skipped, so that a gateway of another version
 * does not hide the others. The connection must have loaded the scripts of the catalog.
 * @throws errors that `isRedisUnavailable` recognizes.
 */
export async function readGateways(
  live: LiveRedis,
  keys: CatalogKeys,
  options: { usage: boolean },
): Promise<LiveGateway[]> {
  const [nowMs, heartbeats, usages] = await runScript(live, readHeartbeats, {
    keys: [keys.gateways, keys.usage],
    args: [options.usage ? 1 : 0],
    reply: ReadReply,
  })
  const usageOf = new Map(pairs(usages))
  const gateways: LiveGateway[] = []
  for (const [id, text] of pairs(heartbeats)) {
    const space = text.indexOf(' ')
    const leftMs = Number(text.slice(0, space)) - Number(nowMs)
    if (!(leftMs > 0)) continue
    const parsed = HeartbeatPayload.safeParse(parseJson(text.slice(space + 1)))
    if (!parsed.success) continue
    const usage = UsageByTenant.safeParse(parseJson(usageOf.get(id) ?? ''))
    gateways.push({
      ...parsed.data,
      id,
      ageMs: ttlMs - leftMs,
      usage: new Map(usage.success ? Object.entries(usage.data) : []),
    })
  }
  return gateways.toSorted((a, b) => (a.id < b.id ? -1 : 1))
}

export interface HeartbeatsOptions {
  /** Creates a link to the master. The caller owns the link and keeps it open until `run` has resolved. */
  readonly createLink: (role: string, prepare: Prepare) => RedisLink
  readonly installation: string
  /** The id of this gateway: the name of its pod, or a random one. */
  readonly id: string
  readonly startedAtMs: number
  readonly report: () => GatewayReport
  readonly log: Log
}

/** Sends the heartbeats of one gateway, and reads those of all gateways. */
export class Heartbeats {
  readonly #options: HeartbeatsOptions
  readonly #keys: CatalogKeys
  readonly #link: RedisLink
  #sendNow = new AbortController()

  constructor(options: HeartbeatsOptions) {
    this.#options = options
    this.#keys = catalogKeys(options.installation)
    this.#link = options.createLink('heartbeat', loadCatalogScripts)
    // The gateway registers itself immediately in a Redis that was flushed or replaced.
    this.#link.onOpen(() => this.sendNow())
  }

  /** Sends the next heartbeat without waiting for the interval, because the report has changed. */
  sendNow(): void {
    this.#sendNow.abort()
  }

  /**
   * Sends heartbeats until `signal` is aborted, and then removes the last one, so that a stopped gateway
   * disappears immediately.
   */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#sendNow = new AbortController()
      const sent = await this.#attempt(async (live) => this.#send(live))
      await pause(intervalMinMs, signal)
      await pause(sent ? heartbeatIntervalMs : retryMs, signal, this.#sendNow.signal)
    }
    await this.#attempt(async (live) => this.#remove(live))
  }

  /** Reads all live gateways of the installation. Throws when Redis does not answer within `waitMs`. */
  async readGateways(options: { usage: boolean; waitMs: number }): Promise<LiveGateway[]> {
    return readGateways(await this.#link.ready(options.waitMs), this.#keys, options)
  }

  async #send(live: LiveRedis): Promise<void> {
    const { id, report, startedAtMs } = this.#options
    const { connections, problems, ready, usage, version } = report()
    const payload: z.infer<typeof HeartbeatPayload> = {
      version,
      problems: problems.slice(0, problemsMax),
      problemCount: problems.length,
      connections,
      ready,
      startedAtMs,
    }
    await runScript(live, writeHeartbeat, {
      keys: [this.#keys.gateways, this.#keys.usage],
      args: [id, ttlMs, JSON.stringify(payload), JSON.stringify(Object.fromEntries(usage))],
      reply: z.string(),
    })
  }

  async #remove(live: LiveRedis): Promise<void> {
    const { gateways, usage } = this.#keys
    const { id } = this.#options
    const pipeline = live.client.pipeline().hdel(gateways, id).hdel(usage, id)
    for (const reply of await live.run(pipeline, { deadlineMs: removeDeadlineMs }))
      if (reply instanceof Error) throw replyErrorOf(live, reply)
  }

  /** Returns false when Redis is not available, which the link itself reports. */
  async #attempt(call: (live: LiveRedis) => Promise<void>): Promise<boolean> {
    const live = this.#link.current
    if (!live) return false
    try {
      await call(live)
      return true
    } catch (error) {
      if (!isRedisUnavailable(error)) throw error
      this.#options.log.debug({ err: error }, 'heartbeat could not be written')
      return false
    }
  }
}

function pairs(flat: readonly string[]): [string, string][] {
  const found: [string, string][] = []
  for (let index = 0; index + 1 < flat.length; index += 2)
    found.push([flat[index] ?? '', flat[index + 1] ?? ''])
  return found
}
