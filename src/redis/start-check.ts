// Before anything is served: what will never work ends the start with a sentence, what may pass is waited for.
import { ConfigError } from '../errors.js'
import { Connection, describeError, refusalOf } from './connection.js'
import { pause } from './deadline.js'
import type { Locator } from './locator.js'
import { missingGrants } from './permissions.js'
import { formatAddress, type Address, type SentinelTarget, type StandaloneTarget } from './url.js'

export interface StartCheckOptions {
  /** Running. */
  readonly locator: Locator
  readonly signal: AbortSignal
  /** Why the check is not over yet; called again when that changes. */
  readonly onTrouble: (reason: string) => void
}

const oldestVersion = [7, 0] as const
const retryMs = 250

/** Resolves when Redis is as it must be, or when `signal` ends. Throws ConfigError when it never will be. */
export async function checkAtStart(
  target: StandaloneTarget | SentinelTarget,
  { locator, onTrouble, signal }: StartCheckOptions,
): Promise<void> {
  let last: string | undefined
  while (!signal.aborted) {
    const { address, mistake } = locator
    if (mistake !== undefined) throw new ConfigError([mistake])
    const trouble = address
      ? await checkMaster(target, address, signal)
      : (locator.trouble ?? 'the address of the master is not known')
    if (trouble === undefined || signal.aborted) return
    if (trouble !== last) onTrouble(trouble)
    last = trouble
    await pause(retryMs, signal)
  }
}

/** Undefined: all is well. A trouble may pass; a ConfigError does not. */
async function checkMaster(
  target: StandaloneTarget | SentinelTarget,
  address: Address,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { login, tls } = target
  const where = `Redis at ${formatAddress(address)}`
  const db = target.kind === 'standalone' ? target.db : 0
  const connection = new Connection({ address, login, tls, db, name: 'parley-start' })
  const stop = () => connection.discard('the start is called off')
  signal.addEventListener('abort', stop)
  try {
    await connection.open()
    const [role, pong, info] = await connection.run(connection.client.pipeline().role().ping().info('server'))
    const problems = [
      ...problemsOfVersion(where, info),
      ...(target.kind === 'standalone' ? problemsOfRole(where, role) : []),
    ]
    if (problems.length > 0) throw new ConfigError(problems)
    if (pong instanceof Error && !pong.message.startsWith('NOPERM')) return `${where}: ${pong.message}`
    if (roleOf(role) === 'slave') return `${where} is a replica at the moment`
    const missing = await missingGrants(connection)
    if (missing.length === 0) return undefined
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

function problemsOfVersion(where: string, info: unknown): string[] {
  if (typeof info !== 'string') return []
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

function roleOf(reply: unknown): unknown {
  return Array.isArray(reply) ? reply[0] : undefined
}
