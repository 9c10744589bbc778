// The public addresses of a tenant, from the operator's --public-url and the paths of the gateways.

/** One client endpoint of a tenant. */
export interface TenantEndpoint {
  readonly type: 'Chat' | 'Centrifuge'
  readonly url: string
}

/** The gateways' public address, such as `wss://chat.example.com`. It has a path when a proxy adds one. */
export class PublicUrl {
  readonly #url: URL

  private constructor(url: URL) {
    this.#url = url
  }

  /**
   * Parses a ws or wss URL without query, fragment and credentials. Accepts http and https for ws and wss,
   * because users copy addresses from a browser. Returns undefined for any other text.
   */
  static parse(text: string): PublicUrl | undefined {
    if (!URL.canParse(text)) return undefined
    const url = new URL(text.replace(/^http/, 'ws'))
    const isPlain = url.search === '' && url.hash === '' && url.username === '' && url.password === ''
    return isPlain && /^wss?:$/.test(url.protocol) ? new PublicUrl(url) : undefined
  }

  get host(): string {
    return this.#url.hostname
  }

  get port(): string {
    return this.#url.port === '' ? (defaultPorts[this.#url.protocol] ?? '') : this.#url.port
  }

  /** Returns the base URL of the tenant `key` (`<namespace>/<name>`), without a trailing slash. */
  baseOf(key: string): string {
    return `${this.#url.href.replace(/\/$/, '')}/${key}`
  }

  /** Returns the client endpoints of the tenant `key` (`<namespace>/<name>`). */
  endpointsOf(key: string): TenantEndpoint[] {
    const base = this.baseOf(key)
    return [
      { type: 'Chat', url: `${base}/ws` },
      { type: 'Centrifuge', url: `${base}/connection/websocket` },
    ]
  }
}

const defaultPorts: Readonly<Record<string, string>> = { 'wss:': '443', 'ws:': '80' }
