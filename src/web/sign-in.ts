// The sign-in form: a tenant, a name and optional claims.
import type { DevTenant } from './dev-server.js'
import { element, find, setText } from './dom.js'
import type { IdentityClaims, PageIdentity } from './page-identity.js'

/** The sign-in form. `onSignIn` is called with the identity that the user entered. */
export class SignInForm {
  readonly #section = find('sign-in', HTMLElement)
  readonly #form = find('sign-in-form', HTMLFormElement)
  readonly #user = find('user', HTMLInputElement)
  readonly #guest = find('guest', HTMLButtonElement)
  readonly #tenants: readonly DevTenant[]
  readonly #onSignIn: (identity: PageIdentity) => void

  constructor(tenants: readonly DevTenant[], onSignIn: (identity: PageIdentity) => void) {
    this.#tenants = tenants
    this.#onSignIn = onSignIn
    find('tenants', HTMLElement).replaceChildren(...tenants.map(tenantChoice))
    this.#form.addEventListener('change', () => this.#draw())
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault()
      this.#onSubmit()
    })
    this.#guest.addEventListener('click', () => this.#signIn(undefined, {}))
  }

  /** Shows the form. `problem` is why the last attempt failed; an empty text shows none. */
  show(options: { tenant: string | undefined; problem: string }): void {
    const selected = this.#tenants.find(({ tenant }) => tenant === options.tenant) ?? this.#tenants[0]
    for (const radio of this.#form.querySelectorAll<HTMLInputElement>('input[name=tenant]')) {
      radio.checked = radio.value === selected?.tenant
    }
    this.#draw()
    this.#showProblem(options.problem)
    this.#section.hidden = false
    this.#user.focus()
  }

  get #tenant(): DevTenant | undefined {
    const name = new FormData(this.#form).get('tenant')
    return this.#tenants.find(({ tenant }) => tenant === name)
  }

  get #claims(): IdentityClaims {
    const team = find('team', HTMLInputElement).value.trim()
    const role = find('role', HTMLInputElement).value.trim()
    return { ...(team && { team }), ...(role && { roles: [role] }) }
  }

  #onSubmit(): void {
    const user = this.#user.value.trim()
    if (user) return this.#signIn(user, this.#claims)
    this.#showProblem('Enter a name. Any name works.')
    this.#user.focus()
  }

  #signIn(user: string | undefined, claims: IdentityClaims): void {
    const tenant = this.#tenant
    if (!tenant)
      return this.#showProblem('The gateway has no tenants. Check the folder given with --tenants.')
    this.#section.hidden = true
    this.#onSignIn({ tenant: tenant.tenant, user, claims })
  }

  #showProblem(problem: string): void {
    setText(find('sign-in-problem', HTMLElement), problem)
  }

  #draw(): void {
    this.#guest.hidden = this.#tenant?.guests !== true
  }
}

function tenantChoice(tenant: DevTenant): HTMLElement {
  const radio = element('input', { type: 'radio', name: 'tenant', value: tenant.tenant })
  const details = tenant.guests ? `${tenant.tenant} · guests allowed` : tenant.tenant
  const labels = element(
    'span',
    { class: 'labels' },
    element('span', { class: 'name' }, tenant.displayName),
    element('span', { class: 'details' }, details),
  )
  return element('label', { class: 'tenant' }, radio, labels)
}
