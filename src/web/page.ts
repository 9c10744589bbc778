// The chat page that `parley dev` serves. This room is the only one that runs in a browser: it may import its
// own files and the centrifuge SDK, and nothing else of Parley. Start reading here, continue with chat.ts
// (the state of a signed-in user) and chat-connection.ts (the connection), and then the views, which draw
// that state into index.html.
import { ChatView } from './chat-view.js'
import { fetchTenants, type DevTenant } from './dev-server.js'
import {
  removeIdentity,
  type PageIdentity,
  knownIdentity,
  parseIdentity,
  saveIdentity,
} from './page-identity.js'
import { SignInForm } from './sign-in.js'

function start(tenants: readonly DevTenant[]): void {
  const signIn = (identity: PageIdentity) => {
    const tenant = tenants.find((item) => item.tenant === identity.tenant)
    if (!tenant)
      return signInForm.show({ tenant: undefined, problem: `The tenant ${identity.tenant} does not exist.` })
    saveIdentity(identity)
    // A reload uses the identity that the tab stored, so the address no longer needs it.
    history.replaceState(null, '', location.pathname)
    const chat = new ChatView(identity, {
      tenant,
      signOut: () => {
        chat.end()
        removeIdentity(identity)
        signInForm.show({ tenant: tenant.tenant, problem: '' })
      },
    })
  }
  const signInForm = new SignInForm(tenants, signIn)
  // A link that is opened in this tab changes only the fragment, which does not reload the page.
  addEventListener('hashchange', () => parseIdentity(location.hash.slice(1)) && location.reload())
  const known = knownIdentity(location)
  if (known) signIn(known)
  else
    signInForm.show({ tenant: new URLSearchParams(location.search).get('tenant') ?? undefined, problem: '' })
}

try {
  start(await fetchTenants())
} catch (error) {
  const reason = error instanceof Error ? error.message : String(error)
  new SignInForm([], () => {}).show({
    tenant: undefined,
    problem: `The gateway does not respond: ${reason}. Check that it is running, then reload the page.`,
  })
}
