// What every gateway tells of itself, so that the controller can prove what is enforced, and `/stats` can speak for all gateways.
import { z } from 'zod'
import { parseJson } from '../../json.js'
import type { Log } from '../../log.js'
import { pause } from '../../deadline.js'
import { catalogKeys, type CatalogKeys } from '../../redis/keys.js'
import type { LiveRedis, Prepare, RedisLink } from '../../redis/link.js'
import { beat, isRedisTrouble, loadCatalogScripts, readBeats, refused, runScript } from './scripts.js'
import { Beat, Usage, type GatewayReport, type LiveGateway } from '../heartbeat.js'

const ReadReply = z.tuple([z.string(), z.array(z.string()), z.array(z.string())])

/** So many are told by name; the number of all is `problemCount`. */
const problemsMax = 100

const intervalMs = 5_000
const ttlMs = 15_000
const retryMs = 1_000
/** Between two beats, however much there is to tell: thousands of changes may come in a row. */
const gapMs = 50
const goodbyeMs = 1_000

/**
 * All that live, by id. Entries that make no sense are passed over: a gateway of another version is no reason to see none.
 * The connection must have the catalog's scripts. Throws what `isRedisTrouble` knows.
 */
export async function readGateways(
  live: LiveRedis,
  keys: CatalogKeys,
  options: { usage: boolean },
): Promise<LiveGateway[]> {
  const [nowMs, beats, usages] = await runScript(live, readBeats, {
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
    const parsed = Beat.safeParse(parseJson(text.slice(space + 1)))
    if (!parsed.success) continue
    const usage = Usage.safeParse(parseJson(usageOf.get(id) ?? ''))
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
  #hurry = new AbortController()

  constructor(options: HeartbeatsOptions) {
    this.#options = options
    this.#keys = catalogKeys(options.installation)
    this.#link = options.createLink('heartbeat', loadCatalogScripts)
    // A Redis that was flushed, or is another, hears of this gateway at once.
    this.#link.onOpen(() => this.hurry())
  }

  /** What is reported has changed: tell it now. */
  hurry(): void {
    this.#hurry.abort()
  }

  /** Beats until `signal` ends it, and says goodbye: a gateway that stops is gone at once. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#hurry = new AbortController()
      const told = await this.#tell(async (live) => this.#beat(live))
      await pause(gapMs, signal)
      await pause(told ? intervalMs : retryMs, signal, this.#hurry.signal)
    }
    await this.#tell(async (live) => this.#goodbye(live))
  }

  /** All gateways of the installation. Throws when Redis does not answer within `waitMs`. */
  async readGateways(options: { usage: boolean; waitMs: number }): Promise<LiveGateway[]> {
    return readGateways(await this.#link.ready(options.waitMs), this.#keys, options)
  }

  async #beat(live: LiveRedis): Promise<void> {
    const { id, report, startedAtMs } = this.#options
    const { connections, problems, ready, usage, version } = report()
    const told: z.infer<typeof Beat> = {
      version,
      problems: problems.slice(0, problemsMax),
      problemCount: problems.length,
      connections,
      ready,
      startedAtMs,
    }
    await runScript(live, beat, {
      keys: [this.#keys.gateways, this.#keys.usage],
      args: [id, ttlMs, JSON.stringify(told), JSON.stringify(Object.fromEntries(usage))],
      reply: z.string(),
    })
  }

  async #goodbye(live: LiveRedis): Promise<void> {
    const { gateways, usage } = this.#keys
    const { id } = this.#options
    const pipeline = live.client.pipeline().hdel(gateways, id).hdel(usage, id)
    for (const reply of await live.run(pipeline, { deadlineMs: goodbyeMs }))
      if (reply instanceof Error) throw refused(live, reply)
  }

  /** False: Redis is away. The link tells of that. */
  async #tell(what: (live: LiveRedis) => Promise<void>): Promise<boolean> {
    const live = this.#link.current
    if (!live) return false
    try {
      await what(live)
      return true
    } catch (error) {
      if (!isRedisTrouble(error)) throw error
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
