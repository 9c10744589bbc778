// The backend of a chat: issues tokens to its users and publishes events to all of them. Both keys and the
// address come from the Secrets that Parley creates for a ChatTenant and a ChatCredential, mounted as the
// Service Binding specification says.
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { SignJWT } from 'jose'

const { PORT = '3000', SERVICE_BINDING_ROOT = '/bindings' } = process.env
const bodyLengthMax = 10_000

/** Reads a file of the bindings. It is read each time, since it changes when Parley rotates a key. */
const readBinding = (name) => readFile(`${SERVICE_BINDING_ROOT}/${name}`, 'utf8')

async function chatToken(user) {
  return new SignJWT({ sub: user })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('10 minutes')
    .sign(Buffer.from(await readBinding('chat/backend')))
}

async function publish(channel, data) {
  const uri = (await readBinding('chat/uri')).replace(/^ws/, 'http')
  const response = await fetch(`${uri}/api/publish`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'X-API-Key': await readBinding('chat-api/api-key'),
      // Makes Parley answer a refusal with an HTTP error status, not only with an error in the body.
      'X-Centrifugo-Error-Mode': 'transport',
    },
    body: JSON.stringify({ channel, data }),
    signal: AbortSignal.timeout(5_000),
  })
  if (!response.ok) throw new Error(`Publishing failed: ${response.status} ${await response.text()}`)
}

class Refusal extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

/** Users by the session id in their cookie. */
const sessions = new Map()

function userOf(request) {
  const id = /(?:^|; )session=([^;]+)/.exec(request.headers.cookie ?? '')?.[1]
  const user = sessions.get(id)
  if (user === undefined) throw new Refusal(401, 'Log in first')
  return user
}

async function jsonOf(request) {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk
    if (text.length > bodyLengthMax) throw new Refusal(413, 'Too long')
  }
  try {
    return JSON.parse(text)
  } catch {
    throw new Refusal(400, 'Not JSON')
  }
}

const postHandlers = {
  // Accepts any user name: replace it with your own login.
  async '/login'(request, response) {
    const { user } = Object(await jsonOf(request))
    if (typeof user !== 'string' || user === '') throw new Refusal(400, 'A user is needed')
    const id = randomUUID()
    sessions.set(id, user)
    response.setHeader('Set-Cookie', `session=${id}; HttpOnly; SameSite=Strict`)
    return {}
  },

  async '/token'(request) {
    const token = await chatToken(userOf(request))
    return { token, url: `${await readBinding('chat/uri')}/connection/websocket` }
  },

  async '/ring'(request) {
    await publish('general', { text: `${userOf(request)} rings the bell` })
    return {}
  },
}

const page = (name) => new URL(`../browser/${name}`, import.meta.url)
const files = {
  '/': { file: page('index.html'), type: 'text/html' },
  '/chat.js': { file: page('chat.js'), type: 'text/javascript' },
  '/centrifuge.js': {
    file: new URL('../dist/centrifuge.js', import.meta.resolve('centrifuge')),
    type: 'text/javascript',
  },
}

async function answer(request, response) {
  const { method, url } = request
  if (method === 'GET' && Object.hasOwn(files, url)) {
    const { file, type } = files[url]
    response.setHeader('Content-Type', type).end(await readFile(file))
  } else if (method === 'POST' && Object.hasOwn(postHandlers, url)) {
    const fields = await postHandlers[url](request, response)
    response.setHeader('Content-Type', 'application/json').end(JSON.stringify(fields))
  } else throw new Refusal(404, 'Not found')
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    const status = error instanceof Refusal ? error.status : 500
    if (status === 500) console.error(error)
    response.writeHead(status).end(status === 500 ? 'Something went wrong' : error.message)
  })
})
server.listen(Number(PORT), () => console.log(`http://localhost:${server.address().port}/`))
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => server.close())
