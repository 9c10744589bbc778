// Parses the URL of --redis, which names the servers, how to find the master among them, and the login. Error
// messages never quote the URL, since it may hold a password.
import { isIP, isIPv6 } from 'node:net'
import { ConfigError } from '../errors.js'

export interface Address {
  /** A host name or an IP address; IPv6 without brackets. */
  readonly host: string
  readonly port: number
}

export interface Login {
  /** The ACL user. Undefined: the user `default` of Redis. */
  readonly username?: string | undefined
  readonly password?: string | undefined
}

/**
 * Certificates and keys as PEM text. The fields are read for each connection, so a getter can return renewed
 * certificates. The certificate of the server must match the host of its address, or `servername` when it is
 * set.
 */
export interface RedisTlsOptions {
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
  readonly servername?: string | undefined
}

interface Access {
  readonly login: Login
  /** Undefined: no TLS. */
  readonly tls?: RedisTlsOptions | undefined
}

/** A single Redis. */
export interface StandaloneTarget extends Access {
  readonly kind: 'standalone'
  readonly address: Address
  readonly db: number
}

/** A master with replicas that Sentinels monitor. */
export interface SentinelTarget extends Access {
  readonly kind: 'sentinel'
  readonly sentinels: readonly Address[]
  readonly masterName: string
  readonly sentinelLogin: Login
}

/** A Redis Cluster. */
export interface ClusterTarget extends Access {
  readonly kind: 'cluster'
  /** The nodes that the URL lists. The gateway discovers the others. */
  readonly nodes: readonly Address[]
}

export type RedisTarget = StandaloneTarget | SentinelTarget | ClusterTarget

/**
 * The logins and certificates that are configured separately from the URL, in the environment or in files.
 */
export interface SeparateCredentials {
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly sentinelUsername?: string | undefined
  readonly sentinelPassword?: string | undefined
  readonly tls?: RedisTlsOptions | undefined
}

const urlPattern = /^redis(?<tls>s?)(?<kind>\+sentinel|\+cluster)?:\/\/(?<authority>[^/?#]*)(?<tail>.*)$/s
const hostPattern = /^(?:\[(?<six>[^\]]*)\]|(?<name>[^:[\]]*))(?::(?<port>.*))?$/s

type Report = (problem: string) => void

/**
 * Parses `url`. Throws a ConfigError that lists every problem and quotes no part of the URL, since any part
 * of a malformed URL may be the password.
 */
export function parseRedisUrl(url: string, separate: SeparateCredentials = {}): RedisTarget {
  const problems: string[] = []
  const report: Report = (problem) => problems.push(`Redis URL: ${problem}`)
  const target = readUrl(url, separate, report)
  if (target === undefined || problems.length > 0) throw new ConfigError(problems)
  return target
}

/** Formats the target as a URL without user and password, for logs. */
export function describeTarget(target: RedisTarget): string {
  const scheme = target.tls ? 'rediss' : 'redis'
  switch (target.kind) {
    case 'standalone':
      return `${scheme}://${formatAddress(target.address)}/${target.db}`
    case 'sentinel':
      return `${scheme}+sentinel://${target.sentinels.map(formatAddress).join(',')}/${target.masterName}`
    case 'cluster':
      return `${scheme}+cluster://${target.nodes.map(formatAddress).join(',')}`
  }
}

/** Formats an address as `host:port`, with brackets around IPv6. */
export function formatAddress({ host, port }: Address): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}

function readUrl(url: string, separate: SeparateCredentials, report: Report): RedisTarget | undefined {
  const parts = urlPattern.exec(url)?.groups
  if (!parts) {
    report(
      'it must begin with redis:// or rediss://, redis+sentinel:// or rediss+sentinel://, ' +
        'redis+cluster:// or rediss+cluster://',
    )
    return undefined
  }
  const kind =
    parts['kind'] === '+sentinel' ? 'sentinel' : parts['kind'] === '+cluster' ? 'cluster' : 'standalone'
  const { authority = '', tail = '' } = parts
  if (/[?#@]/.test(tail)) {
    // The parts of such a URL are ambiguous.
    report('?, # and @ are not allowed after the hosts; write /, ? and # in a password as %2F, %3F and %23')
    return undefined
  }
  const path = tail.replace(/^\//, '')
  const at = authority.lastIndexOf('@')
  const access = {
    login: readLogin(at === -1 ? undefined : authority.slice(0, at), separate, report),
    tls: readTls(parts['tls'] === 's', separate.tls, report),
  }
  const addresses = readAddresses(authority.slice(at + 1), kind === 'sentinel' ? 26_379 : 6379, report)
  if (kind !== 'sentinel' && (separate.sentinelUsername ?? separate.sentinelPassword) !== undefined) {
    report('a login for Sentinels is configured, but the URL names no Sentinels')
  }
  switch (kind) {
    case 'standalone':
      if (addresses.length > 1) report('several hosts need redis+sentinel:// or redis+cluster://')
      return {
        kind,
        ...access,
        address: addresses[0] ?? { host: '', port: 0 },
        db: readDatabase(path, report),
      }
    case 'sentinel':
      return {
        kind,
        ...access,
        sentinels: addresses,
        masterName: readMasterName(path, report),
        sentinelLogin: checkLogin(
          { username: separate.sentinelUsername, password: separate.sentinelPassword },
          { owner: 'the Sentinels', report },
        ),
      }
    case 'cluster':
      if (path !== '' && path !== '0') report('a Cluster has no databases: remove what follows the hosts')
      return { kind, ...access, nodes: addresses }
  }
}

function readLogin(userinfo: string | undefined, separate: SeparateCredentials, report: Report): Login {
  const colon = userinfo?.indexOf(':') ?? -1
  const inUrl = {
    username: decode(colon === -1 ? userinfo : userinfo?.slice(0, colon), report) || undefined,
    password: decode(colon === -1 ? undefined : userinfo?.slice(colon + 1), report),
  }
  if (inUrl.username !== undefined && separate.username !== undefined)
    report('the user is set twice, in the URL and apart from it')
  if (inUrl.password !== undefined && separate.password !== undefined)
    report('the password is set twice, in the URL and apart from it')
  return checkLogin(
    { username: inUrl.username ?? separate.username, password: inUrl.password ?? separate.password },
    { owner: 'Redis', report },
  )
}

function checkLogin(login: Login, { owner, report }: { owner: string; report: Report }): Login {
  if (login.password === '') report(`the password of ${owner} is empty`)
  if (login.username === '') report(`the user of ${owner} is empty`)
  if (login.username && login.password === undefined) {
    report(`the user of ${owner} has no password (write a password without a user as redis://:password@host)`)
  }
  return login
}

function decode(text: string | undefined, report: Report): string | undefined {
  if (text === undefined) return undefined
  try {
    return decodeURIComponent(text)
  } catch {
    report('user and password must be percent-encoded: a % is followed by two hexadecimal digits')
    return undefined
  }
}

function readTls(
  enabled: boolean,
  tls: RedisTlsOptions | undefined,
  report: Report,
): RedisTlsOptions | undefined {
  if (tls && !enabled)
    report(
      'certificates are configured, but only rediss://, rediss+sentinel:// and rediss+cluster:// use TLS',
    )
  if ((tls?.cert === undefined) !== (tls?.key === undefined))
    report('a client certificate and its key must be configured together')
  return enabled ? (tls ?? {}) : undefined
}

function readAddresses(list: string, defaultPort: number, report: Report): Address[] {
  const addresses = list.split(',').map((text, index, all) => {
    const where = all.length === 1 ? 'the host' : `host ${index + 1}`
    const parts = hostPattern.exec(text)?.groups
    const host = (parts?.['six'] ?? parts?.['name'] ?? '').toLowerCase()
    const valid = parts?.['six'] === undefined ? /^[a-z0-9._-]+$/.test(host) : isIPv6(host)
    const port = parts?.['port']
    if (!valid) report(`${where} is neither a host name nor an IP address (IPv6 in brackets)`)
    else if (port !== undefined && !isPort(port))
      report(`the port of ${where} is not a number from 1 to 65535`)
    return { host, port: port === undefined ? defaultPort : Number(port) }
  })
  if (new Set(addresses.map(formatAddress)).size < addresses.length) report('a host is listed twice')
  return addresses
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65_535
}

function readDatabase(path: string, report: Report): number {
  if (/^\d{0,5}$/.test(path)) return Number(path)
  report('only the number of a database may follow the host')
  return 0
}

function readMasterName(path: string, report: Report): string {
  // Sentinel allows the same characters in the name of a master.
  if (!/^[A-Za-z0-9._-]+$/.test(path))
    report('the name of the master must follow the Sentinels: redis+sentinel://host1,host2,host3/mymaster')
  return path
}

/**
 * Returns the name for SNI and for the check of the certificate. Returns undefined for an IP address, which
 * SNI does not allow.
 */
export function serverNameOf(host: string): string | undefined {
  return isIP(host) === 0 ? host : undefined
}
