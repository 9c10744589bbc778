// Where clients find a tenant, as the operator's --public-url and the gateways' paths make it.

export interface Endpoint {
  readonly type: 'Chat' | 'Centrifuge'
  readonly url: string
}

/** The gateways' public address: `wss://chat.example.com`, with a path where a proxy adds one. */
export class PublicUrl {
  readonly #url: URL

  private constructor(url: URL) {
    this.#url = url
  }

  /** Undefined: it is none. https is taken for wss, since people copy what their browser shows. */
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

  /** `key` is `<namespace>/<name>`. Without a slash at the end. */
  baseOf(key: string): string {
    return `${this.#url.href.replace(/\/$/, '')}/${key}`
  }

  endpointsOf(key: string): Endpoint[] {
    const base = this.baseOf(key)
    return [
      { type: 'Chat', url: `${base}/ws` },
      { type: 'Centrifuge', url: `${base}/connection/websocket` },
    ]
  }
}

const defaultPorts: Readonly<Record<string, string>> = { 'wss:': '443', 'ws:': '80' }
