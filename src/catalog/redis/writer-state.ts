// What a writer finds in Redis before it writes a complete catalog.
import { z } from 'zod'
import type { CatalogKeys } from '../../redis/keys.js'
import type { LiveRedis } from '../../redis/link.js'
import { readGateways } from './heartbeats.js'
import { parseStamp, unknownStampBody, type Stamp } from './record.js'
import { readForWriting, runScript } from './scripts.js'
import { compareVersions, type CatalogVersion } from '../version.js'

export interface CatalogState {
  /** Undefined: there is none. */
  readonly version: CatalogVersion | undefined
  /** -Infinity when there was no writer yet. */
  readonly fence: number
  /** Redis is still the master that it was at the last complete snapshot: nothing was lost since. */
  readonly sameMaster: boolean
  readonly nowMs: number
  /** The cluster whose controllers write it; undefined: nobody said. */
  readonly owner: string | undefined
  readonly stamps: ReadonlyMap<string, Stamp>
  /** The furthest that a living gateway is. */
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

/** The connection must have the catalog's scripts. Throws what `isRedisTrouble` knows. */
export async function readCatalogState(live: LiveRedis, keys: CatalogKeys): Promise<CatalogState> {
  // Before the catalog: whatever a gateway had applied then was in it at the latest when it is read.
  const applied = await readLatestApplied(live, keys)
  const [epoch, n, fence, same, nowMs, owner, flat] = await runScript(live, readForWriting, {
    keys: [keys.version, keys.stamps],
    reply: StateReply,
  })
  const stamps = new Map<string, Stamp>()
  for (let index = 0; index < flat.length; index += 2) {
    // A stamp that makes no sense is like none of ours: its tenant is written anew, or removed.
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

/** The furthest that a living gateway is. */
export async function readLatestApplied(live: LiveRedis, keys: CatalogKeys): Promise<CatalogVersion | undefined> {
  const gateways = await readGateways(live, keys, { usage: false })
  const versions = gateways.flatMap(({ version }) => version ?? [])
  return versions.toSorted(compareVersions).at(-1)
}

export function isAhead(applied: CatalogVersion | undefined, version: CatalogVersion): boolean {
  return applied !== undefined && compareVersions(applied, version) > 0
}
