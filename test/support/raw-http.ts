// HTTP requests as text, including malformed ones.

export interface UpgradeRequest {
  readonly method?: string
  /** Path and query. Default: the chat endpoint of demo/acme. */
  readonly target?: string
  readonly version?: string
  /** Added to the headers of a regular client, or replacing them; undefined removes one. */
  readonly headers?: Readonly<Record<string, string | undefined>>
  /** Further header lines, for repeated headers. */
  readonly lines?: readonly string[]
}

const regularHeaders = {
  Host: 'chat.example.com',
  Upgrade: 'websocket',
  Connection: 'Upgrade',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version': '13',
}

export const chatPath = '/demo/acme/ws'
export const centrifugePath = '/demo/acme/connection/websocket'

export function upgradeRequest(request: UpgradeRequest = {}): string {
  const { lines = [], method = 'GET', target = chatPath, version = 'HTTP/1.1' } = request
  const headers = Object.entries({ ...regularHeaders, ...request.headers })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${value}`)
  return [`${method} ${target} ${version}`, ...headers, ...lines, '', ''].join('\r\n')
}
