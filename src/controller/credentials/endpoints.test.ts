import { expect, test } from 'vitest'
import { PublicUrl } from './endpoints.js'

test.each([
  ['wss://chat.example.com', 'wss://chat.example.com/demo/acme', 'chat.example.com', '443'],
  ['https://chat.example.com/', 'wss://chat.example.com/demo/acme', 'chat.example.com', '443'],
  ['ws://10.0.0.1:8000', 'ws://10.0.0.1:8000/demo/acme', '10.0.0.1', '8000'],
  ['http://localhost', 'ws://localhost/demo/acme', 'localhost', '80'],
  ['wss://example.com/chat/', 'wss://example.com/chat/demo/acme', 'example.com', '443'],
])('parses %s', (text, base, host, port) => {
  const url = PublicUrl.parse(text)
  expect([url?.baseOf('demo/acme'), url?.host, url?.port]).toEqual([base, host, port])
})

test.each(['chat.example.com', 'ftp://x', 'wss://user:password@x', 'wss://x?y=1', 'wss://x#y', ''])(
  'is not a public URL: %s',
  (text) => {
    expect(PublicUrl.parse(text)).toBeUndefined()
  },
)

test('each client protocol has its own endpoint', () => {
  expect(PublicUrl.parse('wss://x')?.endpointsOf('demo/acme')).toEqual([
    { type: 'Chat', url: 'wss://x/demo/acme/ws' },
    { type: 'Centrifuge', url: 'wss://x/demo/acme/connection/websocket' },
  ])
})
