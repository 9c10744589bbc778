// The grammar of --redis: one URL names the servers, how they are found, and who we are. What is wrong is said without what is secret.
import { isIP, isIPv6 } from 'node:net'
import { ConfigError } from '../errors.js'

export interface Address {
  /** A name or an IP address; IPv6 without brackets. */
  readonly host: string
  readonly port: number
}

export interface Login {
  /** Undefined: Redis's user `default`. */
  readonly username?: string | undefined
  readonly password?: string | undefined
}

/**
 * PEM texts, read for each connection: getters may give what is new. The name in the certificate is that of the address, unless `servername`
 * says otherwise.
 */
export interface TlsOptions {
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
  readonly servername?: string | undefined
}

interface Access {
  readonly login: Login
  /** Undefined: no TLS. */
  readonly tls?: TlsOptions | undefined
}

export interface StandaloneTarget extends Access {
  readonly kind: 'standalone'
  readonly address: Address
  readonly db: number
}

export interface SentinelTarget extends Access {
  readonly kind: 'sentinel'
  readonly sentinels: readonly Address[]
  readonly masterName: string
  readonly sentinelLogin: Login
}

export interface ClusterTarget extends Access {
  readonly kind: 'cluster'
  readonly nodes: readonly Address[]
}

export type RedisTarget = StandaloneTarget | SentinelTarget | ClusterTarget

/** What need not stand in the URL: from the environment or from files. */
export interface ApartFromUrl {
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly sentinelUsername?: string | undefined
  readonly sentinelPassword?: string | undefined
  readonly tls?: TlsOptions | undefined
}

const urlPattern = /^redis(?<tls>s?)(?<kind>\+sentinel|\+cluster)?:\/\/(?<authority>[^/?#]*)(?<tail>.*)$/s
const hostPattern = /^(?:\[(?<six>[^\]]*)\]|(?<name>[^:[\]]*))(?::(?<port>.*))?$/s

type Say = (problem: string) => void

/** Throws a ConfigError that lists every problem and quotes nothing: in a broken URL any part may be the password. */
export function parseRedisUrl(url: string, apart: ApartFromUrl = {}): RedisTarget {
  const problems: string[] = []
  const say: Say = (problem) => problems.push(`Redis URL: ${problem}`)
  const target = readUrl(url, apart, say)
  if (target === undefined || problems.length > 0) throw new ConfigError(problems)
  return target
}

/** For logs and people: no user, no password. */
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

export function formatAddress({ host, port }: Address): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}

function readUrl(url: string, apart: ApartFromUrl, say: Say): RedisTarget | undefined {
  const parts = urlPattern.exec(url)?.groups
  if (!parts) {
    say(
      'it begins with redis:// or rediss://, redis+sentinel:// or rediss+sentinel://, redis+cluster:// or rediss+cluster://',
    )
    return undefined
  }
  const kind =
    parts['kind'] === '+sentinel' ? 'sentinel' : parts['kind'] === '+cluster' ? 'cluster' : 'standalone'
  const { authority = '', tail = '' } = parts
  if (/[?#@]/.test(tail)) {
    // Nothing after this can be read with certainty.
    say('?, # and @ have no place after the hosts; in a password /, ? and # are written %2F, %3F and %23')
    return undefined
  }
  const path = tail.replace(/^\//, '')
  const at = authority.lastIndexOf('@')
  const access = {
    login: readLogin(at === -1 ? undefined : authority.slice(0, at), apart, say),
    tls: readTls(parts['tls'] === 's', apart.tls, say),
  }
  const addresses = readAddresses(authority.slice(at + 1), kind === 'sentinel' ? 26_379 : 6379, say)
  if (kind !== 'sentinel' && (apart.sentinelUsername ?? apart.sentinelPassword) !== undefined) {
    say('a login for Sentinels is given, but the URL names none')
  }
  switch (kind) {
    case 'standalone':
      if (addresses.length > 1) say('several hosts need redis+sentinel:// or redis+cluster://')
      return { kind, ...access, address: addresses[0] ?? { host: '', port: 0 }, db: readDatabase(path, say) }
    case 'sentinel':
      return {
        kind,
        ...access,
        sentinels: addresses,
        masterName: readMasterName(path, say),
        sentinelLogin: checkLogin(
          { username: apart.sentinelUsername, password: apart.sentinelPassword },
          { of: 'the Sentinels', say },
        ),
      }
    case 'cluster':
      if (path !== '' && path !== '0') say('a Cluster has no databases: nothing comes after the hosts')
      return { kind, ...access, nodes: addresses }
  }
}

function readLogin(userinfo: string | undefined, apart: ApartFromUrl, say: Say): Login {
  const colon = userinfo?.indexOf(':') ?? -1
  const inUrl = {
    username: decode(colon === -1 ? userinfo : userinfo?.slice(0, colon), say) || undefined,
    password: decode(colon === -1 ? undefined : userinfo?.slice(colon + 1), say),
  }
  if (inUrl.username !== undefined && apart.username !== undefined)
    say('the user is given twice, in the URL and apart from it')
  if (inUrl.password !== undefined && apart.password !== undefined)
    say('the password is given twice, in the URL and apart from it')
  return checkLogin(
    { username: inUrl.username ?? apart.username, password: inUrl.password ?? apart.password },
    { of: 'Redis', say },
  )
}

function checkLogin(login: Login, { of, say }: { of: string; say: Say }): Login {
  if (login.password === '') say(`the password of ${of} is empty`)
  if (login.username === '') say(`the user of ${of} is empty`)
  if (login.username && login.password === undefined) {
    say(`the user of ${of} has no password (a password without a user is written redis://:password@host)`)
  }
  return login
}

function decode(text: string | undefined, say: Say): string | undefined {
  if (text === undefined) return undefined
  try {
    return decodeURIComponent(text)
  } catch {
    say('user and password are percent-encoded: a % is followed by two hexadecimal digits')
    return undefined
  }
}

function readTls(wanted: boolean, tls: TlsOptions | undefined, say: Say): TlsOptions | undefined {
  if (tls && !wanted) say('certificates are given, but only rediss:// and its like use TLS')
  if ((tls?.cert === undefined) !== (tls?.key === undefined))
    say('a client certificate and its key come together')
  return wanted ? (tls ?? {}) : undefined
}

function readAddresses(list: string, defaultPort: number, say: Say): Address[] {
  const addresses = list.split(',').map((text, index, all) => {
    const where = all.length === 1 ? 'the host' : `host ${index + 1}`
    const parts = hostPattern.exec(text)?.groups
    const host = (parts?.['six'] ?? parts?.['name'] ?? '').toLowerCase()
    const sound = parts?.['six'] === undefined ? /^[a-z0-9._-]+$/.test(host) : isIPv6(host)
    const port = parts?.['port']
    if (!sound) say(`${where} is neither a name nor an IP address (IPv6 in brackets)`)
    else if (port !== undefined && !isPort(port)) say(`the port of ${where} is not a number from 1 to 65535`)
    return { host, port: port === undefined ? defaultPort : Number(port) }
  })
  if (new Set(addresses.map(formatAddress)).size < addresses.length) say('a host is given twice')
  return addresses
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65_535
}

function readDatabase(path: string, say: Say): number {
  if (/^\d{0,5}$/.test(path)) return Number(path)
  say('after the host comes the number of a database, or nothing')
  return 0
}

function readMasterName(path: string, say: Say): string {
  // The characters that Sentinel itself allows.
  if (!/^[A-Za-z0-9._-]+$/.test(path))
    say('after the Sentinels comes the name of their master: redis+sentinel://host1,host2,host3/mymaster')
  return path
}

/** What a certificate is checked against and asked for by name (SNI), which is never an IP address. */
export function serverNameOf(host: string): string | undefined {
  return isIP(host) === 0 ? host : undefined
}
