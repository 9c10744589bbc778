// The host names under which a gateway is known to be reached. A page of any site can connect to this gateway
// under the site's own name, when that name resolves to the gateway's address for a moment (DNS rebinding).
// Such a page has the same host as the gateway, and only the name tells it apart.
import { isIP } from 'node:net'
import { CommandError } from '../../errors.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import { originAllowed } from '../../tenant/origin.js'

/** A host name, with `*.` in front of it for all names below it. */
const entrySyntax = /^(?:\*\.)?[^\s/:?#@\\*[\]]+$/

/** Returns why an entry is not a host name, as a sentence. Returns undefined when it is one. */
export function hostProblem(entry: string): string | undefined {
  return entrySyntax.test(entry) && hostnameOf(entry.replace(/^\*\./, '')) !== undefined
    ? undefined
    : `"${entry}" is not a host name: write chat.example.com or *.example.com, without scheme and port.`
}

export class KnownHosts {
  readonly #names: ReadonlySet<string>
  readonly #suffixes: readonly string[]

  /** Takes entries that `hostProblem` finds no problem with. */
  constructor(entries: readonly string[]) {
    const names = entries.map((entry) => ({
      isSuffix: entry.startsWith('*.'),
      name: hostnameOf(entry.replace(/^\*\./, '')) ?? '',
    }))
    this.#names = new Set(names.filter(({ isSuffix }) => !isSuffix).map(({ name }) => name))
    this.#suffixes = names.filter(({ isSuffix }) => isSuffix).map(({ name }) => `.${name}`)
  }

  /**
   * Returns whether a Host header has a known name, with any port. Addresses and names below `localhost` are
   * always known: no site can make a page's host an address that is not its own, and browsers resolve
   * `localhost` themselves.
   */
  has(host: string): boolean {
    const name = hostnameOf(host)
    if (name === undefined) return false
    if (isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0) return true
    if (name === 'localhost' || name.endsWith('.localhost')) return true
    return this.#names.has(name) || this.#suffixes.some((suffix) => name.endsWith(suffix))
  }

  /**
   * Throws ORIGIN_NOT_ALLOWED when a guest may not connect from the page that sent this request: guests have
   * no token that another site could not have. A request without an origin does not come from a browser.
   */
  checkGuest(
    tenant: TenantRuntime,
    headers: { origin?: string | undefined; host?: string | undefined },
  ): void {
    const { host = '', origin } = headers
    if (originAllowed(origin, tenant.policy.allowedOrigins, undefined) || this.has(host)) return
    throw new CommandError(
      'ORIGIN_NOT_ALLOWED',
      'Guests may not connect from pages of this host: add the host to the gateway’s --public-hosts, or the origin to the tenant’s allowedOrigins',
    )
  }
}

/** Lower-cases a name and converts it to punycode, and removes the port and the dot at the end. */
function hostnameOf(host: string): string | undefined {
  const address = `http://${host}`
  if (host === '' || /[/?#@\\]/.test(host) || !URL.canParse(address)) return undefined
  return new URL(address).hostname.toLowerCase().replace(/\.$/, '')
}
