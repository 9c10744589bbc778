// The check of Redis before the gateway or the controller starts. A configuration that cannot work ends the
// start with an error. A temporary problem makes the check wait.
import { ConfigError } from '../errors.js'
import type { ClusterMap } from './topology/cluster-map.js'
import { RedisConnection, describeError, rejectionOf } from './connection.js'
import { pause } from '../deadline.js'
import type { Locator } from './topology/locator.js'
import { missingGrants } from './permissions.js'
import {
  formatAddress,
  type Address,
  type ClusterTarget,
  type RedisTarget,
  type SentinelTarget,
  type StandaloneTarget,
} from './url.js'

export interface StartCheckOptions {
  readonly signal: AbortSignal
  /** Called with the reason why the check is waiting, and again when the reason changes. */
  readonly onUnavailable: (reason: string) => void
  /**
   * Called with each setting of a master that endangers stored data, as a sentence; several times when the
   * check is repeated. Default: they are ignored.
   */
  readonly onWarning?: (sentence: string) => void
}

const oldestVersion = [7, 0] as const
const retryMs = 250

/**
 * Waits until Redis can be used or `signal` aborts. Throws ConfigError when Redis cannot be used as
 * configured.
 */
export async function checkAtStart(
  target: StandaloneTarget | SentinelTarget,
  { locator, ...waiting }: StartCheckOptions & { readonly locator: Locator },
): Promise<void> {
  await untilReady(waiting, async () => {
    const { address, configError, unavailableReason } = locator
    if (configError !== undefined) throw new ConfigError([configError])
    if (!address) return unavailableReason ?? 'the address of the master is not known'
    return checkNode(target, address, { ...waiting, master: true })
  })
}

/**
 * Checks each master of a Cluster like `checkAtStart`. While the masters are not known, it checks the nodes
 * in the URL.
 */
export async function checkClusterAtStart(
  target: ClusterTarget,
  { map, ...waiting }: StartCheckOptions & { readonly map: ClusterMap },
): Promise<void> {
  await untilReady(waiting, async () => {
    const { masters, unavailableReason } = map
    const known = masters.length > 0
    const checks = await Promise.allSettled(
      (known ? masters : target.nodes).map((address) =>
        checkNode(target, address, { ...waiting, master: known }),
      ),
    )
    const failures = checks.flatMap((check): unknown[] => (check.status === 'rejected' ? [check.reason] : []))
    const problems = failures.flatMap((error) => (error instanceof ConfigError ? error.problems : []))
    if (problems.length > 0) throw new ConfigError(problems)
    for (const error of failures) throw error
    return (
      unavailableReason ??
      checks.flatMap((check) => (check.status === 'fulfilled' ? (check.value ?? []) : [])).at(0)
    )
  })
}

/**
 * Repeats `check` until it resolves with undefined. While Redis cannot be used yet, `check` resolves with the
 * reason.
 */
async function untilReady(
  { onUnavailable, signal }: StartCheckOptions,
  check: () => Promise<string | undefined>,
): Promise<void> {
  let last: string | undefined
  while (!signal.aborted) {
    const reason = await check()
    if (reason === undefined || signal.aborted) return
    if (reason !== last) onUnavailable(reason)
    last = reason
    await pause(retryMs, signal)
  }
}

/**
 * Checks one node. Resolves with undefined when the node can be used, or with a temporary reason why it
 * cannot. Throws ConfigError for a permanent problem. `master`: whether the node is expected to be a master.
 */
async function checkNode(
  target: RedisTarget,
  address: Address,
  { master, onWarning, signal }: Omit<StartCheckOptions, 'onUnavailable'> & { readonly master: boolean },
): Promise<string | undefined> {
  const { login, tls } = target
  const where = `Redis at ${formatAddress(address)}`
  const db = target.kind === 'standalone' ? target.db : 0
  const cluster = target.kind === 'cluster'
  const connection = new RedisConnection({ address, login, tls, db, name: 'parley-start' })
  const stop = () => connection.discard('the start was cancelled')
  signal.addEventListener('abort', stop)
  try {
    await connection.open()
    const pipeline = connection.client.pipeline().role().ping().info('server').info('memory')
    if (cluster) pipeline.call('CLUSTER', 'INFO')
    const [role, pong, info, memory, state] = await connection.run(pipeline)
    const problems = [
      ...problemsOfServer(where, info, { cluster }),
      ...(target.kind === 'standalone' ? problemsOfRole(where, role) : []),
    ]
    if (problems.length > 0) throw new ConfigError(problems)
    if (pong instanceof Error && !pong.message.startsWith('NOPERM')) return `${where}: ${pong.message}`
    if (master && roleOf(role) === 'slave') return `${where} is a replica at the moment`
    if (master) for (const warning of warningsOfMemory(where, memory)) onWarning?.(warning)
    const missing = await missingGrants(connection, { cluster })
    if (missing.length === 0)
      return isClusterDown(state) ? `${where} reports that the Cluster is down` : undefined
    const user = login.username ?? 'default'
    throw new ConfigError([`${where}: the user "${user}" lacks permissions. Grant: ${missing.join(' ')}`])
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const configError = configErrorOf(error)
    if (configError !== undefined) throw new ConfigError([`${where} ${configError}`])
    return `${where}: ${describeError(error)}`
  } finally {
    signal.removeEventListener('abort', stop)
    connection.discard('the check no longer needs the connection')
  }
}

function configErrorOf(error: unknown): string | undefined {
  switch (rejectionOf(error)) {
    case 'noPassword':
      return 'requires a password, and none is configured'
    case 'wrongPassword':
      return 'rejects the user or the password'
    case 'noDatabase':
      return 'has no database with this number'
    case undefined:
      return undefined
  }
}

function problemsOfServer(where: string, info: unknown, { cluster }: { cluster: boolean }): string[] {
  if (typeof info !== 'string') return []
  return [...problemsOfVersion(where, info), ...problemsOfMode(where, info, cluster)]
}

function problemsOfMode(where: string, info: string, cluster: boolean): string[] {
  const isNode = /^redis_mode:cluster/m.test(info)
  if (isNode === cluster) return []
  return [
    isNode
      ? `${where} is a node of a Cluster: use redis+cluster://…`
      : `${where} is not a node of a Cluster: use redis://… or redis+sentinel://…`,
  ]
}

function problemsOfVersion(where: string, info: string): string[] {
  const version = /^redis_version:(\d+)\.(\d+)\S*/m.exec(info)
  if (!version)
    return [`${where} does not report its version: Parley needs Redis ${oldestVersion.join('.')} or newer`]
  const [text, major, minor] = version
  const [oldestMajor, oldestMinor] = oldestVersion
  if (Number(major) > oldestMajor || (Number(major) === oldestMajor && Number(minor) >= oldestMinor))
    return []
  return [
    `${where} is version ${text.slice('redis_version:'.length)}: Parley needs ${oldestVersion.join('.')} or newer`,
  ]
}

/** A Redis without these settings works until its memory is used up. */
function warningsOfMemory(where: string, info: unknown): string[] {
  if (typeof info !== 'string') return []
  const policy = /^maxmemory_policy:([\w-]+)/m.exec(info)?.[1] ?? 'noeviction'
  const warnings: string[] = []
  if (/^maxmemory:0\b/m.test(info))
    warnings.push(
      `${where} has no maxmemory: it can use up the memory of its machine, and no reserve for control commands is kept. Set maxmemory`,
    )
  if (policy !== 'noeviction')
    warnings.push(
      `${where} has maxmemory-policy ${policy}: when its memory is used up, it deletes histories and quotas. Set noeviction`,
    )
  return warnings
}

function problemsOfRole(where: string, role: unknown): string[] {
  if (roleOf(role) !== 'slave') return []
  return [
    `${where} is a replica: use the address of its master, or of the Sentinels that monitor it (redis+sentinel://…)`,
  ]
}

function isClusterDown(clusterInfo: unknown): boolean {
  return typeof clusterInfo === 'string' && clusterInfo.includes('cluster_state:fail')
}

function roleOf(reply: unknown): unknown {
  return Array.isArray(reply) ? reply[0] : undefined
}
