// What every gateway tells of itself, so that the controller can prove what is enforced, and `/stats` can speak for all gateways.
import { z } from 'zod'
import { parseJson } from '../../json.js'
import type { Log } from '../../log.js'
import { pause } from '../../deadline.js'
import { catalogKeys, type CatalogKeys } from '../../redis/keys.js'
import type { LiveRedis, Prepare, RedisLink } from '../../redis/link.js'
import { writeHeartbeat, loadCatalogScripts, readHeartbeats, replyErrorOf, runScript } from './scripts.js'
import { isRedisUnavailable } from './unavailable.js'
import { HeartbeatPayload, UsageByTenant, type GatewayReport, type LiveGateway } from '../heartbeat.js'

const ReadReply = z.tuple([z.string(), z.array(z.string()), z.array(z.string())])

/** So many are told by name; the number of all is `problemCount`. */
const problemsMax = 100

const intervalMs = 5_000
const ttlMs = 15_000
const retryMs = 1_000
/** Between two beats, however much there is to tell: thousands of changes may come in a row. */
const intervalMinMs = 50
const removeDeadlineMs = 1_000

/**
 * All that live, by id. Entries that make no sense are passed over: a gateway of another version is no reason to see none.
 * The connection must have the catalog's scripts. Throws what `isRedisTrouble` knows.
 */
export async function readGateways(
  live: LiveRedis,
  keys: CatalogKeys,
  options: { usage: boolean },
): Promise<LiveGateway[]> {
  const [nowMs, beats, usages] = await runScript(live, readHeartbeats, {
    keys: [keys.gateways, keys.usage],
    args: [options.usage ? 1 : 0],
    reply: ReadReply,
  })
  const usageOf = new Map(pairs(usages))
  const gateways: LiveGateway[] = []
  for (const [id, text] of pairs(beats)) {
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
  /** A link to the master, made and kept open by the caller until `run` has resolved. */
  readonly createLink: (role: string, prepare: Prepare) => RedisLink
  readonly installation: string
  /** Of this gateway: the pod's name, or random. */
  readonly id: string
  readonly startedAtMs: number
  readonly report: () => GatewayReport
  readonly log: Log
}

export class Heartbeats {
  readonly #options: HeartbeatsOptions
  readonly #keys: CatalogKeys
  readonly #link: RedisLink
  #sendNow = new AbortController()

  constructor(options: HeartbeatsOptions) {
    this.#options = options
    this.#keys = catalogKeys(options.installation)
    this.#link = options.createLink('heartbeat', loadCatalogScripts)
    // A Redis that was flushed, or is another, hears of this gateway at once.
    this.#link.onOpen(() => this.sendNow())
  }

  /** What is reported has changed: tell it now. */
  sendNow(): void {
    this.#sendNow.abort()
  }

  /** Beats until `signal` ends it, and says goodbye: a gateway that stops is gone at once. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#sendNow = new AbortController()
      const told = await this.#attempt(async (live) => this.#send(live))
      await pause(intervalMinMs, signal)
      await pause(told ? intervalMs : retryMs, signal, this.#sendNow.signal)
    }
    await this.#attempt(async (live) => this.#remove(live))
  }

  /** All gateways of the installation. Throws when Redis does not answer within `waitMs`. */
  async readGateways(options: { usage: boolean; waitMs: number }): Promise<LiveGateway[]> {
    return readGateways(await this.#link.ready(options.waitMs), this.#keys, options)
  }

  async #send(live: LiveRedis): Promise<void> {
    const { id, report, startedAtMs } = this.#options
    const { connections, problems, ready, usage, version } = report()
    const told: z.infer<typeof HeartbeatPayload> = {
      version,
      problems: problems.slice(0, problemsMax),
      problemCount: problems.length,
      connections,
      ready,
      startedAtMs,
    }
    await runScript(live, writeHeartbeat, {
      keys: [this.#keys.gateways, this.#keys.usage],
      args: [id, ttlMs, JSON.stringify(told), JSON.stringify(Object.fromEntries(usage))],
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

  /** False: Redis is away. The link tells of that. */
  async #attempt(what: (live: LiveRedis) => Promise<void>): Promise<boolean> {
    const live = this.#link.current
    if (!live) return false
    try {
      await what(live)
      return true
    } catch (error) {
      if (!isRedisUnavailable(error)) throw error
      this.#options.log.debug({ err: error }, 'no heartbeat could be written')
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
