// A chat's backend: gives its users tokens, and tells all of them what happens. Both keys and the address come from the
// Secrets that Parley makes for a ChatTenant and a ChatCredential, mounted as the Service Binding specification says.
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { SignJWT } from 'jose'

const { PORT = '3000', SERVICE_BINDING_ROOT = '/bindings' } = process.env
const bodyLengthMax = 10_000

/** Read each time: when Parley changes a key, the file changes. */
const bound = (name) => readFile(`${SERVICE_BINDING_ROOT}/${name}`, 'utf8')

async function chatToken(user) {
  return new SignJWT({ sub: user })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('10 minutes')
    .sign(Buffer.from(await bound('chat/backend')))
}

async function publish(channel, data) {
  const uri = (await bound('chat/uri')).replace(/^ws/, 'http')
  const response = await fetch(`${uri}/api/publish`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'X-API-Key': await bound('chat-api/api-key'),
      // A refusal is a status too, not only an answer with an error in it.
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

/** Users by what their cookie holds. */
const sessions = new Map()

function userOf(request) {
  const id = /(?:^|; )session=([^;]+)/.exec(request.headers.cookie ?? '')?.[1]
  const user = sessions.get(id)
  if (user === undefined) throw new Refusal(401, 'Log in first')
  return user
}

async function jsonOf(request) {
  let text = ''
  for await (const piece of request.setEncoding('utf8')) {
    text += piece
    if (text.length > bodyLengthMax) throw new Refusal(413, 'Too long')
  }
  try {
    return JSON.parse(text)
  } catch {
    throw new Refusal(400, 'Not JSON')
  }
}

const posts = {
  // Whoever has a name may come in here: your own login goes in its place.
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
    return { token, url: `${await bound('chat/uri')}/connection/websocket` }
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
  } else if (method === 'POST' && Object.hasOwn(posts, url)) {
    const fields = await posts[url](request, response)
    response.setHeader('Content-Type', 'application/json').end(JSON.stringify(fields))
  } else throw new Refusal(404, 'There is nothing')
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
