// A chat page. Its backend knows the user, returns the address to connect to and signs tokens. The centrifuge
// client does the rest.
const channel = 'general'
const shownMax = 50

const element = (id) => document.getElementById(id)

element('login').addEventListener('submit', (event) => {
  event.preventDefault()
  showErrors(async () => {
    await post('login', { user: element('user').value })
    await chat()
  })
})

async function chat() {
  const { token, url } = await post('token')
  const client = new Centrifuge(url, { token, getToken: async () => (await post('token')).token })
  client.on('connecting', () => showStatus('Connecting …'))
  client.on('connected', () => showStatus('Connected'))
  client.on('disconnected', ({ reason }) => showStatus(`Disconnected: ${reason}`))
  client.connect()
  await client.ready()
  element('login').hidden = true
  element('chat').hidden = false

  const { epoch, offset, publications } = await client.history(channel, { limit: shownMax, reverse: true })
  publications.toReversed().forEach(show)
  // The subscription begins at this position, so that no message is missed or shown twice, also after a lost
  // connection.
  const room = client.newSubscription(channel, { since: { epoch, offset }, joinLeave: true })
  room.on('publication', show)
  room.on('subscribed', ({ recovered, wasRecovering }) => {
    if (wasRecovering && !recovered) showStatus('You were offline too long: some messages are missing here')
    showErrors(async () => people.set(await room.presence()))
  })
  room.on('join', ({ info }) => people.join(info))
  room.on('leave', ({ info }) => people.leave(info))
  room.on('unsubscribed', ({ reason }) => showStatus(`You are not in ${channel}: ${reason}`))
  room.subscribe()

  element('say').addEventListener('submit', (event) => {
    event.preventDefault()
    showErrors(async () => {
      await room.publish({ text: element('text').value })
      element('text').value = ''
    })
  })
  element('ring').addEventListener('click', () => showErrors(() => post('ring')))
}

/** Sends a request to the backend and returns its JSON response. */
async function post(path, body = {}) {
  const response = await fetch(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })
  // The session ended. After this error the client stops asking for tokens.
  if (response.status === 401) throw new Centrifuge.UnauthorizedError()
  if (!response.ok) throw new Error(`The backend answered ${path} with status ${response.status}`)
  return response.json()
}

function showStatus(text) {
  element('status').textContent = text
}

/** Runs an action, and shows the message of an error. */
function showErrors(action) {
  action().catch((error) => showStatus(error.message))
}

/** Shows a message. A publication of the backend has no user. */
function show({ data, info }) {
  element('messages').append(item(`${info?.user ?? 'The backend'}: ${data.text}`))
  while (element('messages').childElementCount > shownMax) element('messages').firstElementChild.remove()
}

/** Users by connection. A user with two tabs leaves when both are closed. */
const people = {
  users: new Map(),
  set({ clients }) {
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

/** Creates a list item with the text. Setting textContent keeps markup in a message from being rendered. */
function item(text) {
  const li = document.createElement('li')
  li.textContent = text
  return li
}
