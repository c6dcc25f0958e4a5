// What components are written with.
const { h, Component, Fragment, createRef, render: mount } = preact;
const { useEffect, useLayoutEffect, useMemo, useRef, useState } = hooks;
const html = htm.bind(h);

