// What components are written with.
const { h, Component, createRef, render: mount } = preact;
const { useState } = hooks;
const html = htm.bind(h);

