// One state, changed by actions alone; views are told once per frame, however many actions came.

/** Make a store; `reduce(state, action)` gives the next state and changes nothing. */
export function createStore(reduce, initial) {
  let state = initial;
  let isScheduled = false;
  const listeners = new Set();

  function tell() {
    isScheduled = false;
    for (const listener of [...listeners]) listener(state);
  }

  return {
    get state() {
      return state;
    },
    dispatch(action) {
      const next = reduce(state, action);
      if (next === state) return;
      state = next;
      if (isScheduled) return;
      isScheduled = true;
      // A hidden tab gets no frames, but its title and its announcements go on.
      if (document.hidden) setTimeout(tell, 50);
      else requestAnimationFrame(tell);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
