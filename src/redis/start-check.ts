// Before anything is served: what will never work ends the start with a sentence, what may pass is waited for.
import { ConfigError } from '../errors.js'
import type { ClusterMap } from './topology/cluster-map.js'
import { Connection, describeError, refusalOf } from './connection.js'
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
  /** Why the check is not over yet; called again when that changes. */
  readonly onTrouble: (reason: string) => void
}

const oldestVersion = [7, 0] as const
const retryMs = 250

/** Resolves when Redis is as it must be, or when `signal` ends. Throws ConfigError when it never will be. */
export async function checkAtStart(
  target: StandaloneTarget | SentinelTarget,
  { locator, ...waiting }: StartCheckOptions & { readonly locator: Locator },
): Promise<void> {
  await untilWell(waiting, async () => {
    const { address, mistake, trouble } = locator
    if (mistake !== undefined) throw new ConfigError([mistake])
    if (!address) return trouble ?? 'the address of the master is not known'
    return checkNode(target, address, { signal: waiting.signal, master: true })
  })
}

/** The same for each master of a Cluster; as long as they are not known, for the nodes that the URL names. */
export async function checkClusterAtStart(
  target: ClusterTarget,
  { map, ...waiting }: StartCheckOptions & { readonly map: ClusterMap },
): Promise<void> {
  await untilWell(waiting, async () => {
    const { masters, trouble } = map
    const known = masters.length > 0
    const checks = await Promise.allSettled(
      (known ? masters : target.nodes).map((address) =>
        checkNode(target, address, { signal: waiting.signal, master: known }),
      ),
    )
    const failures = checks.flatMap((check): unknown[] => (check.status === 'rejected' ? [check.reason] : []))
    const problems = failures.flatMap((error) => (error instanceof ConfigError ? error.problems : []))
    if (problems.length > 0) throw new ConfigError(problems)
    for (const error of failures) throw error
    return (
      trouble ?? checks.flatMap((check) => (check.status === 'fulfilled' ? (check.value ?? []) : [])).at(0)
    )
  })
}

/** `look` gives the trouble, if there is one. */
async function untilWell(
  { onTrouble, signal }: StartCheckOptions,
  look: () => Promise<string | undefined>,
): Promise<void> {
  let last: string | undefined
  while (!signal.aborted) {
    const trouble = await look()
    if (trouble === undefined || signal.aborted) return
    if (trouble !== last) onTrouble(trouble)
    last = trouble
    await pause(retryMs, signal)
  }
}

/** Undefined: all is well. A trouble may pass; a ConfigError does not. `master`: it is said to be one. */
async function checkNode(
  target: RedisTarget,
  address: Address,
  { master, signal }: { master: boolean; signal: AbortSignal },
): Promise<string | undefined> {
  const { login, tls } = target
  const where = `Redis at ${formatAddress(address)}`
  const db = target.kind === 'standalone' ? target.db : 0
  const cluster = target.kind === 'cluster'
  const connection = new Connection({ address, login, tls, db, name: 'parley-start' })
  const stop = () => connection.discard('the start is called off')
  signal.addEventListener('abort', stop)
  try {
    await connection.open()
    const question = connection.client.pipeline().role().ping().info('server')
    if (cluster) question.call('CLUSTER', 'INFO')
    const [role, pong, info, state] = await connection.run(question)
    const problems = [
      ...problemsOfServer(where, info, { cluster }),
      ...(target.kind === 'standalone' ? problemsOfRole(where, role) : []),
    ]
    if (problems.length > 0) throw new ConfigError(problems)
    if (pong instanceof Error && !pong.message.startsWith('NOPERM')) return `${where}: ${pong.message}`
    if (master && roleOf(role) === 'slave') return `${where} is a replica at the moment`
    const missing = await missingGrants(connection, { cluster })
    if (missing.length === 0) return isDown(state) ? `${where} says that the Cluster is down` : undefined
    const user = login.username ?? 'default'
    throw new ConfigError([`${where}: its user "${user}" lacks permissions. Grant: ${missing.join(' ')}`])
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const mistake = mistakeOf(error)
    if (mistake !== undefined) throw new ConfigError([`${where} ${mistake}`])
    return `${where}: ${describeError(error)}`
  } finally {
    signal.removeEventListener('abort', stop)
    connection.discard('the check is done with it')
  }
}

function mistakeOf(error: unknown): string | undefined {
  switch (refusalOf(error)) {
    case 'noPassword':
      return 'wants a password, and none is given'
    case 'wrongPassword':
      return 'refuses the user or the password'
    case 'noDatabase':
      return 'has no database of this number'
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
      : `${where} is no node of a Cluster: use redis://… or redis+sentinel://…`,
  ]
}

function problemsOfVersion(where: string, info: string): string[] {
  const version = /^redis_version:(\d+)\.(\d+)\S*/m.exec(info)
  if (!version)
    return [`${where} does not tell its version: Parley needs Redis ${oldestVersion.join('.')} or newer`]
  const [text, major, minor] = version
  const [oldestMajor, oldestMinor] = oldestVersion
  if (Number(major) > oldestMajor || (Number(major) === oldestMajor && Number(minor) >= oldestMinor))
    return []
  return [
    `${where} is version ${text.slice('redis_version:'.length)}: Parley needs ${oldestVersion.join('.')} or newer`,
  ]
}

function problemsOfRole(where: string, role: unknown): string[] {
  if (roleOf(role) !== 'slave') return []
  return [`${where} is a replica: name its master, or the Sentinels that know it (redis+sentinel://…)`]
}

function isDown(clusterInfo: unknown): boolean {
  return typeof clusterInfo === 'string' && clusterInfo.includes('cluster_state:fail')
}

function roleOf(reply: unknown): unknown {
  return Array.isArray(reply) ? reply[0] : undefined
}
