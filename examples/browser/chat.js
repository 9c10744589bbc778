// A chat page: its backend knows the user, says where to connect and signs tokens; the centrifuge client does the rest.
const channel = 'general'
const shownMax = 50

const element = (id) => document.getElementById(id)

element('login').addEventListener('submit', (event) => {
  event.preventDefault()
  orTell(async () => {
    await ask('login', { user: element('user').value })
    await chat()
  })
})

async function chat() {
  const { token, url } = await ask('token')
  const client = new Centrifuge(url, { token, getToken: async () => (await ask('token')).token })
  client.on('connecting', () => tell('Connecting …'))
  client.on('connected', () => tell('Connected'))
  client.on('disconnected', ({ reason }) => tell(`Disconnected: ${reason}`))
  client.connect()
  await client.ready()
  element('login').hidden = true
  element('chat').hidden = false

  const { epoch, offset, publications } = await client.history(channel, { limit: shownMax, reverse: true })
  publications.toReversed().forEach(show)
  // From there on: nothing is missed and nothing comes twice, now and whenever the connection was lost.
  const room = client.newSubscription(channel, { since: { epoch, offset }, joinLeave: true })
  room.on('publication', show)
  room.on('subscribed', ({ recovered, wasRecovering }) => {
    if (wasRecovering && !recovered) tell('You were away for long: some messages are missing here')
    orTell(async () => people.meet(await room.presence()))
  })
  room.on('join', ({ info }) => people.join(info))
  room.on('leave', ({ info }) => people.leave(info))
  room.on('unsubscribed', ({ reason }) => tell(`You are not in ${channel}: ${reason}`))
  room.subscribe()

  element('say').addEventListener('submit', (event) => {
    event.preventDefault()
    orTell(async () => {
      await room.publish({ text: element('text').value })
      element('text').value = ''
    })
  })
  element('ring').addEventListener('click', () => orTell(() => ask('ring')))
}

/** What the backend answers, as JSON. */
async function ask(path, body = {}) {
  const response = await fetch(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })
  // Nobody is logged in any more: the client stops asking for tokens.
  if (response.status === 401) throw new Centrifuge.UnauthorizedError()
  if (!response.ok) throw new Error(`${path} was answered ${response.status}`)
  return response.json()
}

function tell(text) {
  element('status').textContent = text
}

/** People see why something did not work. */
function orTell(action) {
  action().catch((error) => tell(error.message))
}

/** What the backend publishes has no user. */
function show({ data, info }) {
  element('messages').append(item(`${info?.user ?? 'The backend'}: ${data.text}`))
  while (element('messages').childElementCount > shownMax) element('messages').firstElementChild.remove()
}

/** Users by connection: who has two tabs is there until both are closed. */
const people = {
  users: new Map(),
  meet({ clients }) {
    this.users = new Map(Object.values(clients).map(({ client, user }) => [client, user]))
    this.draw()
  },
  join({ client, user }) {
    this.users.set(client, user)
    this.draw()
  },
  leave({ client }) {
    this.users.delete(client)
    this.draw()
  },
  draw() {
    element('people').replaceChildren(...[...new Set(this.users.values())].map(item))
  },
}

/** As text, whatever people write. */
function item(text) {
  const li = document.createElement('li')
  li.textContent = text
  return li
}
