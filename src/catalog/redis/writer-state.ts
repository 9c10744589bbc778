// Reads the state of the catalog in Redis that a writer needs before it writes a complete catalog.
import { z } from 'zod'
import type { CatalogKeys } from '../../redis/keys.js'
import type { LiveRedis } from '../../redis/link.js'
import { runScript } from '../../redis/run-script.js'
import { readGateways } from './heartbeats.js'
import { parseStamp, unknownStampBody, type Stamp } from './record.js'
import { readForWriting } from './scripts.js'
import { compareVersions, type CatalogVersion } from '../version.js'

/** The state of the catalog in Redis. */
export interface CatalogState {
  /** The version of the catalog; undefined when there is no catalog. */
  readonly version: CatalogVersion | undefined
  /** The fence of the last writer; -Infinity when there was none. */
  readonly fence: number
  /**
   * Whether the master is the same as at the last complete snapshot, so that no write was lost since then.
   */
  readonly sameMaster: boolean
  /** The time of Redis in milliseconds. */
  readonly nowMs: number
  /** The cluster whose controllers own the catalog; undefined when no owner is set. */
  readonly owner: string | undefined
  readonly stamps: ReadonlyMap<string, Stamp>
  /** The newest version that a live gateway has applied; undefined when there is none. */
  readonly applied: CatalogVersion | undefined
}

const StateReply = z.tuple([
  z.string(),
  z.string(),
  z.string(),
  z.number(),
  z.string(),
  z.string(),
  z.array(z.string()),
])

/**
 * Reads the state of the catalog. The connection must have loaded the scripts of the catalog.
 * @throws errors that `isRedisUnavailable` recognizes.
 */
export async function readCatalogState(live: LiveRedis, keys: CatalogKeys): Promise<CatalogState> {
  // Read before the catalog, so that every version that a gateway has applied is in the catalog when that is
  // read.
  const applied = await readLatestApplied(live, keys)
  const [epoch, n, fence, same, nowMs, owner, flat] = await runScript(live, readForWriting, {
    keys: [keys.version, keys.stamps],
    reply: StateReply,
  })
  const stamps = new Map<string, Stamp>()
  for (let index = 0; index < flat.length; index += 2) {
    // A malformed stamp is replaced by one that equals no stamp of Parley, so that its tenant is written
    // again or removed.
    const stamp = parseStamp(flat[index + 1] ?? '') ?? parseStamp(`0 ${unknownStampBody('?')}`)
    if (stamp) stamps.set(flat[index] ?? '', stamp)
  }
  return {
    version: epoch === '' ? undefined : { epoch: Number(epoch), n: Number(n) },
    fence: fence === '' ? -Infinity : Number(fence),
    sameMaster: same === 1,
    nowMs: Number(nowMs),
    owner: owner === '' ? undefined : owner,
    stamps,
    applied,
  }
}

/** Reads the newest version that a live gateway has applied; undefined when there is none. */
export async function readLatestApplied(
  live: LiveRedis,
  keys: CatalogKeys,
): Promise<CatalogVersion | undefined> {
  const gateways = await readGateways(live, keys, { usage: false })
  const versions = gateways.flatMap(({ version }) => version ?? [])
  return versions.toSorted(compareVersions).at(-1)
}

/** Returns whether a gateway has applied a newer version than `version`. */
export function isAhead(applied: CatalogVersion | undefined, version: CatalogVersion): boolean {
  return applied !== undefined && compareVersions(applied, version) > 0
}
