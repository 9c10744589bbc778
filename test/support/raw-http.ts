// HTTP requests as text, the bent ones too.

export interface UpgradeRequest {
  readonly method?: string
  /** Path and query. Default: the chat door of demo/acme. */
  readonly target?: string
  readonly version?: string
  /** Added to what a proper client sends, or instead of it; undefined takes one away. */
  readonly headers?: Readonly<Record<string, string | undefined>>
  /** Further header lines, for doubles. */
  readonly lines?: readonly string[]
}

const properHeaders = {
  Host: 'chat.example.com',
  Upgrade: 'websocket',
  Connection: 'Upgrade',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version': '13',
}

export const chatDoor = '/demo/acme/ws'
export const centrifugeDoor = '/demo/acme/connection/websocket'

export function upgradeRequest(request: UpgradeRequest = {}): string {
  const { lines = [], method = 'GET', target = chatDoor, version = 'HTTP/1.1' } = request
  const headers = Object.entries({ ...properHeaders, ...request.headers })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${value}`)
  return [`${method} ${target} ${version}`, ...headers, ...lines, '', ''].join('\r\n')
}
